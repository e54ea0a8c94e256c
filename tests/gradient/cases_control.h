/* Gradient cases of operators with blocks, at both orders and in both modes: paths that are taken
 * or not, loops of no trips, values from around blocks, gradients in one branch only, loops in
 * loops. */
#include "check.h"

#define ZERO_ONE "%n0 = constant {value=i64 0}  %n1 = constant {value=i64 1}  "
#define TRIPS(n) ZERO_ONE "%nt = constant {value=i64 " #n "}  "

/* --- branches --------------------------------------------------------------------------------- */
CASE(if_taken, "%x: f64[B], %v: f64[B]",
     "%c = constant {value=bool true}"
     "  %z = if %c : f64[B] { %a = mul %x, %v  %b = sin %a  return %b } { return %x }")
CASE(if_not_taken, "%x: f64[B], %v: f64[B]",
     "%c = constant {value=bool false}"
     "  %z = if %c : f64[B] { %a = mul %x, %v  %b = sin %a  return %b } { %a = exp %x  return %a }")
CASE(
    if_by_value, "%x: f64, %v: f64",
    "%k = constant {value=f64 0}  %c = compare %x, %k {direction=gt}"
    "  %z = if %c : f64 { %a = mul %x, %v  %b = mul %a, %x  return %b } { %a = sin %x  return %a }")
CASE(if_one_branch, "%x: f64[B], %v: f64[B]",
     "%s = reduce %v {kind=sum, axes=[0]}  %k = constant {value=f64 0}"
     "  %c = compare %s, %k {direction=lt}  %o = constant {value=f64 1}"
     "  %y = if %c : f64[B] { %a = mul %x, %x  return %a }"
     " { %a = broadcast_in_dim %o {shape=[B], axes=[]}  return %a }  %z = mul %y, %v")
CASE(if_two_results, "%x: f64[B], %v: f64[B]",
     "%s = reduce %v {kind=sum, axes=[0]}  %k = constant {value=f64 0}"
     "  %c = compare %s, %k {direction=lt}"
     "  %y, %n, %w = if %c : f64[B], i64, f64[B] { %a = mul %x, %v  %i = constant {value=i64 1}"
     "  return %a, %i, %v } { %i = constant {value=i64 2}  return %x, %i, %x }"
     "  %z = mul %y, %w")
CASE(if_nested, "%x: f64, %v: f64",
     "%k = constant {value=f64 0}  %c = compare %x, %k {direction=gt}"
     "  %d = compare %v, %k {direction=gt}"
     "  %z = if %c : f64 { %y = if %d : f64 { %a = mul %x, %v  return %a }"
     " { %a = sin %v  return %a }"
     "  %b = mul %y, %x  return %b } { %y = if %d : f64 { return %v } { return %x }"
     "  %b = mul %y, %y  return %b }")
CASE(switch_middle, "%x: f64[B], %v: f64[B]",
     "%i = constant {value=i64 1}  %s = reduce %x {kind=sum, axes=[0]}"
     "  %g = convert %s {dtype=i64}  %o = sub %g, %g  %j = add %o, %i"
     "  %z = switch %j {cases=3} : f64[B] { return %x }"
     " { %a = mul %x, %v  %b = mul %a, %x  return %b } { return %v }")

/* --- scans ------------------------------------------------------------------------------------ */
CASE(scan_carry, "%x: f64[B], %v: f64[B]",
     "%z = scan %x {carries=1, length=3} : f64[B] (%i: i64, %c: f64[B]) {"
     " %a = mul %c, %v  %b = sin %a  return %b }")
CASE(scan_rows, "%x: f64[T,2]",
     "%z = scan %x : f64[T,2] (%i: i64, %r: f64[2]) { %a = mul %r, %r  %b = sin %a  return %b }",
     .dims = "dim T range=0..")
CASE(scan_both, "%x: f64[T,2], %h: f64[2], %v: f64[2]",
     "%e, %z = scan %h, %x {carries=1} : f64[2], f64[T,2] (%i: i64, %c: f64[2], %r: f64[2]) {"
     " %a = mul %c, %v  %b = add %a, %r  %s = tanh %b  %y = mul %s, %r  return %s, %y }",
     .dims = "dim T range=0..")
CASE(scan_end, "%x: f64[T,2], %h: f64[2]",
     "%z, %y = scan %h, %x {carries=1} : f64[2], f64[T] (%i: i64, %c: f64[2], %r: f64[2]) {"
     " %a = mul %c, %r  %b = sin %a  %s = add %b, %c  %m = reduce %s {kind=sum, axes=[0]}"
     "  return %s, %m }",
     .dims = "dim T range=0..")
CASE(scan_reverse, "%x: f64[T,2], %h: f64[2]",
     "%e, %z = scan %h, %x {carries=1, reverse=true} : f64[2], f64[T,2] (%i: i64, %c: f64[2],"
     " %r: f64[2]) { %a = mul %c, %r  %b = sin %a  %s = add %b, %c  return %s, %c }",
     .dims = "dim T range=0..")
CASE(scan_swap, "%x: f64[B], %v: f64[B]",
     "%p, %z = scan %x, %v {carries=2, length=3} : f64[B], f64[B] (%i: i64, %a: f64[B],"
     " %b: f64[B]) { %m = mul %a, %b  %s = sin %m  return %b, %s }")
CASE(scan_stays, "%x: f64[B], %v: f64[B]",
     "%p, %z = scan %x, %v {carries=2, length=3} : f64[B], f64[B] (%i: i64, %a: f64[B],"
     " %b: f64[B]) { %m = mul %a, %b  return %a, %m }")
CASE(scan_index, "%x: f64[B]",
     "%z = scan %x {carries=1, length=4} : f64[B] (%i: i64, %c: f64[B]) {"
     " %f = convert %i {dtype=f64}  %k = broadcast_in_dim %f {shape=[B], axes=[]}"
     "  %a = mul %c, %k  %s = sin %a  %b = add %s, %c  return %b }")
CASE(scan_matrix, "%x: f64[T,2], %h: f64[3], %w: f64[3,5]",
     "%z, %y = scan %h, %x {carries=1} : f64[3], f64[T,3] (%i: i64, %c: f64[3], %r: f64[2]) {"
     " %q = concat %c, %r {axis=0}  %p = dot_general %w, %q {x_contract=[1], y_contract=[0]}"
     "  %s = tanh %p  return %s, %s }",
     .dims = "dim T range=0..", .tolerance = 1e-8)
CASE(scan_in_scan, "%x: f64[T,3], %v: f64[3]",
     "%n = reduce %v {kind=sum, axes=[0]}"
     "  %z = scan %x : f64[T] (%i: i64, %r: f64[3]) {"
     " %e = scan %n, %r, %v {carries=1} : f64 (%j: i64, %c: f64, %a: f64, %b: f64) {"
     " %m = mul %c, %a  %s = sin %m  %t = add %s, %b  return %t }  return %e }",
     .dims = "dim T range=0..")
CASE(
    if_in_scan, "%x: f64[T], %v: f64",
    "%k = constant {value=f64 0}"
    "  %e, %z = scan %v, %x {carries=1} : f64, f64[T] (%i: i64, %c: f64, %r: f64) {"
    " %up = compare %r, %k {direction=gt}"
    "  %y = if %up : f64 { %a = mul %c, %r  %b = sin %a  return %b } { %a = add %c, %r  return %a }"
    "  return %y, %y }",
    .dims = "dim T range=0..")

/* --- while ------------------------------------------------------------------------------------ */
#define WHILE_BODY(body)                                                                           \
    "%ne, %z = while %n0, %x {limit=5} : i64, f64[B] (%i: i64, %c: f64[B]) {"                      \
    " %m = compare %i, %nt {direction=lt}  return %m } (%i: i64, %c: f64[B]) {"                    \
    " %j = add %i, %n1  " body "  return %j, %b }"
CASE(while_trips, "%x: f64[B], %v: f64[B]",
     TRIPS(3) WHILE_BODY("%a = mul %c, %v  %s = sin %a  %b = add %s, %c"))
CASE(while_no_trip, "%x: f64[B], %v: f64[B]", TRIPS(0) WHILE_BODY("%b = mul %c, %v"))
CASE(while_full, "%x: f64[B], %v: f64[B]", TRIPS(5) WHILE_BODY("%a = mul %c, %v  %b = sin %a"))
CASE(while_runs, "%x: f64[B], %v: f64[B]",
     TRIPS(3) "%ne, %z = while %n0, %x {limit=300} : i64, f64[B] (%i: i64, %c: f64[B]) {"
              " %m = compare %i, %nt {direction=lt}  return %m } (%i: i64, %c: f64[B]) {"
              " %j = add %i, %n1  %a = mul %c, %v  %s = sin %a  %b = add %s, %c  return %j, %b }")
CASE(while_by_value, "%x: f64, %v: f64",
     "%k = constant {value=f64 4}  %h = constant {value=f64 1.5}"
     "  %y = while %x {limit=20} : f64 (%c: f64) { %a = abs %c  %m = compare %a, %k {direction=lt}"
     "  return %m } (%c: f64) { %b = mul %c, %h  return %b }  %z = mul %y, %v")
CASE(while_in_scan, "%x: f64[T], %v: f64",
     TRIPS(2) "%e, %z = scan %v, %x {carries=1} : f64, f64[T] (%i: i64, %c: f64, %r: f64) {"
              " %ne, %y = while %n0, %c {limit=3} : i64, f64 (%j: i64, %d: f64) {"
              " %m = compare %j, %nt {direction=lt}  return %m } (%j: i64, %d: f64) {"
              " %j1 = add %j, %n1  %a = mul %d, %r  %s = sin %a  return %j1, %s }"
              "  return %y, %y }",
     .dims = "dim T range=0..")
/* Newton's method for the square root: the derivative goes through what is carried. */
CASE(while_newton, "%x: f64",
     TRIPS(
         5) "%h = constant {value=f64 0.5}  %s = mul %x, %x  %o = constant {value=f64 1}"
            "  %q = add %s, %o"
            "  %ne, %z = while %n0, %o {limit=6} : i64, f64 (%i: i64, %c: f64) {"
            " %m = compare %i, %nt {direction=lt}  return %m } (%i: i64, %c: f64) {"
            " %j = add %i, %n1  %d = div %q, %c  %e = add %c, %d  %b = mul %e, %h  return %j, %b }",
     .tolerance = 1e-8)

/* --- scans that keep states of runs ----------------------------------------------------------- */
#define SEGMENTS(reverse)                                                                          \
    "%z, %y = scan %h, %x {carries=1, segment=2, reverse=" reverse "} : f64[2], f64[T,2]"          \
    " (%i: i64, %c: f64[2], %r: f64[2]) { %f = convert %i {dtype=f64}"                             \
    "  %k = broadcast_in_dim %f {shape=[2], axes=[]}  %a = mul %c, %r  %b = add %a, %k"            \
    "  %s = sin %b  %e = add %s, %c  return %e, %s }"
CASE(scan_segments, "%x: f64[T,2], %h: f64[2]", SEGMENTS("false"), .outs = "z y",
     .dims = "dim T range=0..")
CASE(scan_segments_reverse, "%x: f64[T,2], %h: f64[2]", SEGMENTS("true"), .outs = "z y",
     .dims = "dim T range=0..")
CASE(scan_segments_even, "%h: f64[2], %v: f64[2]",
     "%z = scan %h {carries=1, length=6, segment=3} : f64[2] (%i: i64, %c: f64[2]) {"
     " %a = mul %c, %v  %s = sin %a  return %s }")
CASE(scan_segments_rows, "%x: f64[7,2]",
     "%z = scan %x {segment=2} : f64[7,2] (%i: i64, %r: f64[2]) { %s = sin %r  return %s }")

/* --- arrays that loops carry ------------------------------------------------------------------ */
/* Every row from the two before it. */
CASE(array_scan, "%x: f64[5,B], %v: f64[B]",
     ZERO_ONE "%z = scan %x {carries=1, length=3} : f64[5,B] (%i: i64, %a: f64[5,B]) {"
              " %j = add %i, %n1  %k = add %j, %n1  %p = array_read %a, %i"
              "  %q = array_read %a, %j  %m = mul %p, %q  %s = sin %m  %r = add %s, %v"
              "  %b = array_write %a, %k, %r  return %b }",
     .step = 0x1p-11)
CASE(array_while, "%x: f64[4,2], %v: f64[2]",
     TRIPS(3) "%t, %z = while %n0, %x {limit=5} : i64, f64[4,2] (%i: i64, %a: f64[4,2]) {"
              " %c = compare %i, %nt {direction=lt}  return %c } (%i: i64, %a: f64[4,2]) {"
              " %j = add %i, %n1  %p = array_read %a, %i  %m = mul %p, %v  %s = sin %m"
              "  %b = array_write %a, %j, %s  return %j, %b }")
/* Rows gathered, and scattered to other places. */
CASE(array_many, "%x: f64[4,2], %i: i64[2], %k: i64[2]",
     "%z = scan %x {carries=1, length=2} : f64[4,2] (%t: i64, %a: f64[4,2]) {"
     " %p = array_read %a, %i  %s = mul %p, %p  %b = array_write %a, %k, %s  return %b }",
     .domain = "i=3,0 k=1,2")
