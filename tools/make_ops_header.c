/* make_ops_header: writes include/stoa/ops.h, src/api/ops.c and docs/ops/README.md from the
 * operator schema, so that every operator has a public builder and a line in the reference. A test
 * compares the files with what this prints; `make_ops_header --write` (from the root) refreshes
 * them. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tables/schema.h"

static bool has_builder(int opcode) {
    const OpInfo *info = &op_infos[opcode];
    if (info->flags & (OP_TERMINATOR | OP_BLOCKS | OP_STATE | OP_DERIVES | OP_DERIVED))
        return false;
    return opcode != OP_CONSTANT && opcode != OP_CALL && opcode != OP_CUSTOM_GRAD &&
           opcode != OP_ALL_TO_ALL;
}
/* Gives its (first) result instead of filling out parameters. */
static bool is_single(const OpInfo *info) { return info->results == 1 || (info->flags & OP_AUX); }
static const char *c_type(AttrKind kind) {
    switch (kind) {
    case ATTR_INT: return "int64_t ";
    case ATTR_FLOAT: return "double ";
    case ATTR_BOOL: return "bool ";
    case ATTR_STR: return "const char *";
    case ATTR_DTYPE: return "StoaDtype ";
    case ATTR_DIM: return "StoaDim ";
    case ATTR_DIMS: return "const StoaDim *";
    case ATTR_INTS: return "const int64_t *";
    case ATTR_REDUCE: return "StoaReduceKind ";
    case ATTR_COMPARE: return "StoaCompareKind ";
    case ATTR_SCATTER: return "StoaScatterKind ";
    case ATTR_FFT: return "StoaFftKind ";
    default: return "int64_t ";
    }
}
static bool is_list(AttrKind kind) { return kind == ATTR_DIMS || kind == ATTR_INTS; }

/* "x y" -> names; returns how many */
static int split(const char *names, char out[16][32]) {
    int count = 0;
    while (*names) {
        size_t n = strcspn(names, " ");
        if (n > 0 && count < 16) {
            memcpy(out[count], names, n);
            out[count++][n] = 0;
        }
        names += n + (names[n] == ' ');
    }
    return count;
}

static void signature(FILE *f, int opcode, bool api) {
    const OpInfo *info = &op_infos[opcode];
    char          names[16][32], outs[16][32];
    int           count = split(info->operands, names), results = split(info->outs, outs);
    bool          many = info->operands_max == OP_MANY, single = is_single(info);
    fprintf(f, "%s%s stoa_%s(StoaProgram *program", api ? "STOA_API " : "",
            single ? "StoaValue" : "void", info->name);
    if (many) fprintf(f, ", const StoaValue *%s, uint32_t %s_count", names[0], names[0]);
    for (int i = 0; i < count && !many; i++) fprintf(f, ", StoaValue %s", names[i]);
    for (uint32_t i = 0; i < info->attrs_count; i++) {
        const AttrInfo *attr = &info->attrs[i];
        fprintf(f, ", %s%s", c_type(attr->kind), attr->name);
        if (is_list(attr->kind)) fprintf(f, ", uint32_t %s_count", attr->name);
    }
    bool listed = info->results == OP_MANY || info->results == OP_ANY;
    if (!single && listed) fprintf(f, ", StoaValue *out_%s", outs[0]);
    if (info->results == OP_ANY) fprintf(f, ", uint32_t %s_count", outs[0]);
    for (int i = 0; i < results && !single && !listed; i++)
        fprintf(f, ", StoaValue *out_%s", outs[i]);
    fprintf(f, ")");
}

static void enumeration(FILE *f, const char *type, const char *prefix, AttrKind kind) {
    const char *const *names = attr_enum_names(kind);
    fprintf(f, "typedef enum %s {", type);
    for (int i = 0; names[i]; i++) {
        fprintf(f, "%s STOA_%s_", i ? "," : "", prefix);
        for (const char *c = names[i]; *c; c++) fputc(toupper((unsigned char)*c), f);
    }
    fprintf(f, " } %s;\n", type);
}

static void header(FILE *f) {
    fprintf(
        f,
        "/* Stoa: the operators as C functions. Generated from src/tables/opcodes.def by\n"
        " * tools/make_ops_header; do not edit.\n *\n"
        " * Each appends one operator to the open graph and gives its result. Elementwise\n"
        " * operands have equal types: broadcast and conversion are explicit. Lists are pointer\n"
        " * and count; an empty list stands for the default where the operator has one.\n"
        " * Contracts: docs/ops. */\n"
        "#ifndef STOA_OPS_H\n#define STOA_OPS_H\n\n#include <stoa/stoa.h>\n\n"
        "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n");
    enumeration(f, "StoaReduceKind", "REDUCE", ATTR_REDUCE);
    enumeration(f, "StoaCompareKind", "COMPARE", ATTR_COMPARE);
    enumeration(f, "StoaScatterKind", "SCATTER", ATTR_SCATTER);
    enumeration(f, "StoaFftKind", "FFT", ATTR_FFT);
    fprintf(f, "\n");
    for (int opcode = 1; opcode < OP_COUNT; opcode++) {
        const OpInfo *info = &op_infos[opcode];
        if (!has_builder(opcode)) continue;
        fprintf(f, "/* %s", info->doc);
        for (uint32_t i = 0; i < info->attrs_count; i++)
            if (info->attrs[i].doc[0])
                fprintf(f, "%s%s: %s", i ? "; " : ". ", info->attrs[i].name, info->attrs[i].doc);
        fprintf(f, " */\n");
        signature(f, opcode, true);
        fprintf(f, ";\n");
    }
    fprintf(f, "\n#ifdef __cplusplus\n}\n#endif\n\n#endif\n");
}

static void body(FILE *f, int opcode) {
    const OpInfo *info = &op_infos[opcode];
    char          names[16][32], outs[16][32];
    int           count = split(info->operands, names), results = split(info->outs, outs);
    bool          many = info->operands_max == OP_MANY, single = is_single(info);
    signature(f, opcode, false);
    fprintf(f, " {\n");
    if (!many && count > 0) {
        fprintf(f, "    StoaValue operands[] = {");
        for (int i = 0; i < count; i++) fprintf(f, "%s%s", i ? ", " : "", names[i]);
        fprintf(f, "};\n");
    }
    if (info->attrs_count != 0) {
        fprintf(f, "    ApiAttr attrs[] = {\n");
        for (uint32_t i = 0; i < info->attrs_count; i++) {
            const AttrInfo *attr = &info->attrs[i];
            const char     *n = attr->name;
            switch (attr->kind) {
            case ATTR_FLOAT: fprintf(f, "        {.number = %s},\n", n); break;
            case ATTR_STR: fprintf(f, "        {.text = %s},\n", n); break;
            case ATTR_DIM: fprintf(f, "        {.integer = (int64_t)%s.id},\n", n); break;
            case ATTR_DIMS: fprintf(f, "        {.dims = %s, .count = %s_count},\n", n, n); break;
            case ATTR_INTS: fprintf(f, "        {.ints = %s, .count = %s_count},\n", n, n); break;
            default: fprintf(f, "        {.integer = (int64_t)%s},\n", n); break;
            }
        }
        fprintf(f, "    };\n");
    }
    const char *operands = many ? names[0] : count ? "operands" : "NULL";
    char        many_count[48];
    snprintf(many_count, sizeof many_count, "%s_count", names[0]);
    const char *attrs = info->attrs_count ? "attrs" : "NULL";
    if (many)
        snprintf(many_count, sizeof many_count, "%s_count", names[0]);
    else
        snprintf(many_count, sizeof many_count, "%d", count);
    if (single) {
        fprintf(f, "    return api_op(program, %d, %s, %s, %s);\n}\n\n", opcode, operands,
                many_count, attrs);
        return;
    }
    if (info->results == OP_MANY || info->results == OP_ANY) {
        char given[48];
        snprintf(given, sizeof given, "%s_count", outs[0]);
        fprintf(f, "    api_op_many(program, %d, %s, %s, %s, out_%s, %s);\n}\n\n", opcode, operands,
                many_count, attrs, outs[0], info->results == OP_ANY ? given : many_count);
        return;
    }
    if (results > 0) fprintf(f, "    StoaValue outs[%d];\n", results);
    fprintf(f, "    api_op_many(program, %d, %s, %s, %s, %s, %d);\n", opcode, operands, many_count,
            attrs, results ? "outs" : "NULL", results);
    for (int i = 0; i < results; i++) fprintf(f, "    *out_%s = outs[%d];\n", outs[i], i);
    fprintf(f, "}\n\n");
}

static void source(FILE *f) {
    fprintf(f, "/* The public operator builders. Generated from src/tables/opcodes.def by\n"
               " * tools/make_ops_header; do not edit.\n"
               " * Each packs its arguments and appends one row through api_op (program.c). */\n"
               "/* clang-format off */\n#include \"api/program.h\"\n\n");
    for (int opcode = 1; opcode < OP_COUNT; opcode++)
        if (has_builder(opcode)) body(f, opcode);
}

static void reference(FILE *f) {
    fprintf(
        f,
        "# Operators\n\nGenerated from `src/tables/opcodes.def` by `tools/make_ops_header`; do not "
        "edit. Contracts of primitives are in the page of each operator.\n\n"
        "| operator | operands | results | attributes | what it computes |\n"
        "|---|---|---|---|---|\n");
    for (int opcode = 1; opcode < OP_COUNT; opcode++) {
        const OpInfo *info = &op_infos[opcode];
        fprintf(f, "| `%s` | %s%s | %s%s | ", info->name, info->operands,
                info->operands_max == OP_MANY ? " ..." : "", info->outs,
                info->results >= OP_ANY ? " ..." : "");
        for (uint32_t i = 0; i < info->attrs_count; i++)
            fprintf(f, "%s`%s`%s", i ? ", " : "", info->attrs[i].name,
                    info->attrs[i].required ? "" : "?");
        fprintf(f, " | ");
        for (const char *c = info->doc; *c; c++) fprintf(f, *c == '|' ? "\\|" : "%c", *c);
        fprintf(f, "%s |\n", info->flags & OP_EXPANDS ? " (composite)" : "");
    }
}

typedef void Writer(FILE *f);
static int   handle(const char *path, Writer *writer, bool write) {
      char  *text = NULL;
      size_t bytes = 0;
      FILE  *memory = open_memstream(&text, &bytes);
      writer(memory);
      fclose(memory);
      int   failed = 0;
      FILE *file = fopen(path, write ? "wb" : "rb");
      if (file == NULL)
        failed = 1;
    else if (write)
        failed = fwrite(text, 1, bytes, file) != bytes;
    else {
          char  *old = malloc(bytes + 1);
          size_t got = fread(old, 1, bytes + 1, file);
          failed = got != bytes || memcmp(old, text, bytes) != 0;
          free(old);
    }
      if (file != NULL) fclose(file);
    free(text);
      if (failed)
        printf("%s %s\n", path,
               write ? "cannot be written"
                       : "is stale: run `make_ops_header --write` from the root");
    return failed;
}

int main(int argc, char **argv) {
    bool write = argc > 1 && strcmp(argv[1], "--write") == 0;
    return handle("include/stoa/ops.h", header, write) | handle("src/api/ops.c", source, write) |
           handle("docs/ops/README.md", reference, write);
}
