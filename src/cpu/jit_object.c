/* Relocatable ELF objects of x86-64 made executable: the small part of a linker that kernels need.
 *
 * A kernel has code and constants, no data of its own, no thread-local storage, and calls at most
 * the functions named here. So loading is: give each section a place behind the one before, copy,
 * and patch 32-bit distances and 64-bit addresses. Functions outside are reached through a stub
 * (an indirect jump and the address), since they may lie farther away than 2 GiB.
 *
 * Objects come from LLVM or from a file that passed its checksum; every offset is still checked
 * before it is used, so that no bytes at all can lead outside the object or the code. */
#include <elf.h>
#include <math.h>
#include <string.h>

#include "arena/check.h"
#include "cpu/jit_inner.h"

enum { PLACE_ALIGN = 64, STUB_BYTES = 16, STUB_ADDRESS = 8 };
static const uint64_t place_none = UINT64_MAX;

/* What code may call: slow paths of jit_math.c, and what LLVM itself makes of loops. */
typedef void AnyFn(void);
static const struct {
    const char *name;
    AnyFn      *address;
} externals[] = {
    {"sin", (AnyFn *)(double (*)(double))sin},
    {"cos", (AnyFn *)(double (*)(double))cos},
    {"fmod", (AnyFn *)(double (*)(double, double))fmod},
    {"memcpy", (AnyFn *)memcpy},
    {"memset", (AnyFn *)memset},
    {"memmove", (AnyFn *)memmove},
};

static bool refuse(const char **out_why, const char *why) {
    *out_why = why;
    return false;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* count elements of `width` at offset lie inside the bytes. */
static bool inside(String bytes, uint64_t offset, uint64_t count, uint64_t width) {
    return offset <= bytes.count && count <= (bytes.count - offset) / width;
}
static Elf64_Ehdr header_of(String bytes) {
    Elf64_Ehdr header;
    memcpy(&header, bytes.data, sizeof header);
    return header;
}
static Elf64_Shdr section_of(const JitObject *object, uint64_t row) {
    ASSERT(row < object->sections);
    Elf64_Shdr section;
    memcpy(&section, object->bytes.data + header_of(object->bytes).e_shoff + row * sizeof section,
           sizeof section);
    return section;
}
/* A zero-terminated string of a string table, or NULL. */
static const char *string_of(const JitObject *object, uint64_t table, uint64_t offset) {
    if (table >= object->sections) return NULL;
    Elf64_Shdr section = section_of(object, table);
    if (section.sh_type != SHT_STRTAB || offset >= section.sh_size) return NULL;
    const char *text = object->bytes.data + section.sh_offset + offset;
    return memchr(text, 0, section.sh_size - offset) ? text : NULL;
}

static bool header_good(String bytes) {
    static const unsigned char magic[] = {0x7F, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT};
    if (bytes.count < sizeof(Elf64_Ehdr)) return false;
    Elf64_Ehdr header = header_of(bytes);
    return memcmp(header.e_ident, magic, sizeof magic) == 0 && header.e_type == ET_REL &&
           header.e_machine == EM_X86_64 && header.e_shentsize == sizeof(Elf64_Shdr) &&
           header.e_shnum <= JIT_SECTIONS_MAX &&
           inside(bytes, header.e_shoff, header.e_shnum, sizeof(Elf64_Shdr));
}

/* Gives code and constants a place; unwind tables stay behind, kernels never unwind. */
static bool sections_place(JitObject *object, const char **out_why) {
    for (uint32_t row = 0; row < object->sections; row++) {
        Elf64_Shdr section = section_of(object, row);
        object->place[row] = place_none;
        if (section.sh_type != SHT_NOBITS && section.sh_type != SHT_NULL &&
            !inside(object->bytes, section.sh_offset, section.sh_size, 1))
            return refuse(out_why, "a section lies outside the object");
        if (!(section.sh_flags & SHF_ALLOC) || section.sh_type == SHT_X86_64_UNWIND) continue;
        if (section.sh_size == 0) continue;
        if (section.sh_type != SHT_PROGBITS || section.sh_flags & (SHF_WRITE | SHF_TLS))
            return refuse(out_why, "a section holds data that could change");
        if (section.sh_addralign > PLACE_ALIGN)
            return refuse(out_why, "a section asks for too large an alignment");
        object->place[row] = object->size;
        object->size += (section.sh_size + PLACE_ALIGN - 1) & ~(uint64_t)(PLACE_ALIGN - 1);
    }
    return true;
}

typedef struct Symbols { /* the symbol table of an object */
    uint64_t offset, count, names;
} Symbols;
static bool symbols_of(const JitObject *object, Symbols *out_symbols) {
    *out_symbols = (Symbols){0};
    for (uint32_t row = 0; row < object->sections; row++) {
        Elf64_Shdr section = section_of(object, row);
        if (section.sh_type != SHT_SYMTAB) continue;
        *out_symbols =
            (Symbols){section.sh_offset, section.sh_size / sizeof(Elf64_Sym), section.sh_link};
        return section.sh_entsize == sizeof(Elf64_Sym);
    }
    return false;
}
static Elf64_Sym symbol_of(const JitObject *object, const Symbols *symbols, uint64_t row) {
    ASSERT(row < symbols->count);
    Elf64_Sym symbol;
    memcpy(&symbol, object->bytes.data + symbols->offset + row * sizeof symbol, sizeof symbol);
    return symbol;
}

static bool external_add(JitObject *object, const char *name) {
    for (uint32_t row = 0; name && row < LENGTH(externals); row++) {
        if (strcmp(externals[row].name, name) != 0) continue;
        if (object->externals == JIT_EXTERNALS_MAX) return false;
        object->external[object->externals++] = row;
        return true;
    }
    return false;
}

/* Finds the entry, and the functions outside. */
static bool symbols_read(JitObject *object, const char **out_why) {
    Symbols symbols;
    if (!symbols_of(object, &symbols)) return refuse(out_why, "it has no symbols");
    object->entry = place_none;
    for (uint64_t row = 1; row < symbols.count; row++) {
        Elf64_Sym   symbol = symbol_of(object, &symbols, row);
        const char *name = string_of(object, symbols.names, symbol.st_name);
        if (symbol.st_shndx == SHN_UNDEF) {
            if (!external_add(object, name))
                return refuse(out_why, "it calls a function that kernels may not call");
        } else if (name && strcmp(name, JIT_ENTRY) == 0 && symbol.st_shndx < object->sections &&
                   object->place[symbol.st_shndx] != place_none &&
                   symbol.st_value < section_of(object, symbol.st_shndx).sh_size) {
            object->entry = object->place[symbol.st_shndx] + symbol.st_value;
        }
    }
    return object->entry != place_none || refuse(out_why, "it has no function " JIT_ENTRY);
}

/* --- relocations ---------------------------------------------------------------------------- */

/* The place a symbol stands for, or place_none. Undefined symbols are numbered in table order. */
static uint64_t symbol_place(const JitObject *object, const Symbols *symbols, uint64_t row) {
    if (row >= symbols->count) return place_none;
    Elf64_Sym symbol = symbol_of(object, symbols, row);
    if (symbol.st_shndx == SHN_UNDEF) {
        uint64_t before = 0;
        for (uint64_t i = 1; i < row; i++)
            before += symbol_of(object, symbols, i).st_shndx == SHN_UNDEF;
        return row == 0 || before >= object->externals ? place_none
                                                       : object->stubs + before * STUB_BYTES;
    }
    if (symbol.st_shndx >= object->sections) return place_none;
    uint64_t place = object->place[symbol.st_shndx];
    return place == place_none || symbol.st_value > object->size ? place_none
                                                                 : place + symbol.st_value;
}

/* Patches one place, or only checks it if `to` is NULL. Distances are taken modulo 2^64, as the
 * processor does. */
static bool patch(const JitObject *object, uint8_t *to, uint64_t at, uint64_t left,
                  const Elf64_Rela *relocation, uint64_t symbol, const char **out_why) {
    uint64_t base = (uint64_t)(uintptr_t)to, addend = (uint64_t)relocation->r_addend;
    uint64_t value = symbol + addend;
    uint32_t kind = ELF64_R_TYPE(relocation->r_info);
    bool     wide = kind == R_X86_64_64 || kind == R_X86_64_PC64;
    if (left < (wide ? 8 : 4)) return refuse(out_why, "a relocation lies outside its section");
    switch (kind) {
    case R_X86_64_64: value += base; break;
    case R_X86_64_PC64: value -= at; break;
    case R_X86_64_GOTPCREL:
    case R_X86_64_GOTPCRELX:
    case R_X86_64_REX_GOTPCRELX: /* reads the address in the stub */
        if (symbol < object->stubs) return refuse(out_why, "it reads an address it does not have");
        value += STUB_ADDRESS - at;
        break;
    case R_X86_64_PC32:
    case R_X86_64_PLT32: value -= at; break;
    default: return refuse(out_why, "it has a relocation of a kind that kernels do not need");
    }
    int32_t narrow = (int32_t)(uint32_t)value;
    if (!wide && (uint64_t)(int64_t)narrow != value)
        return refuse(out_why, "a distance is longer than 2 GiB");
    if (to && wide) memcpy(to + at, &value, sizeof value);
    if (to && !wide) memcpy(to + at, &narrow, sizeof narrow);
    return true;
}

static bool relocate(const JitObject *object, const Symbols *symbols, uint8_t *to, uint32_t row,
                     const char **out_why) {
    Elf64_Shdr section = section_of(object, row);
    if (section.sh_type == SHT_REL) return refuse(out_why, "its relocations have no addends");
    if (section.sh_type != SHT_RELA || section.sh_info >= object->sections) return true;
    uint64_t place = object->place[section.sh_info];
    uint64_t size = section_of(object, section.sh_info).sh_size;
    if (place == place_none) return true;
    for (uint64_t i = 0; i < section.sh_size / sizeof(Elf64_Rela); i++) {
        Elf64_Rela relocation;
        memcpy(&relocation, object->bytes.data + section.sh_offset + i * sizeof relocation,
               sizeof relocation);
        uint64_t symbol = symbol_place(object, symbols, ELF64_R_SYM(relocation.r_info));
        if (symbol == place_none) return refuse(out_why, "a relocation names no symbol");
        if (relocation.r_offset > size)
            return refuse(out_why, "a relocation lies outside its section");
        if (!patch(object, to, place + relocation.r_offset, size - relocation.r_offset, &relocation,
                   symbol, out_why))
            return false;
    }
    return true;
}

static bool relocate_all(const JitObject *object, uint8_t *to, const char **out_why) {
    Symbols symbols;
    if (!symbols_of(object, &symbols)) return refuse(out_why, "it has no symbols");
    for (uint32_t row = 0; row < object->sections; row++)
        if (!relocate(object, &symbols, to, row, out_why)) return false;
    return true;
}

bool jit_object_read(String bytes, JitObject *out_object, const char **out_why) {
    ASSERT(out_object && out_why);
    *out_object = (JitObject){.bytes = bytes};
    if (!header_good(bytes)) return refuse(out_why, "it is no relocatable object of x86-64");
    out_object->sections = header_of(bytes).e_shnum;
    if (!sections_place(out_object, out_why)) return false;
    if (!symbols_read(out_object, out_why)) return false;
    out_object->stubs = out_object->size;
    out_object->size += (uint64_t)out_object->externals * STUB_BYTES;
    out_object->size = (out_object->size + PLACE_ALIGN - 1) & ~(uint64_t)(PLACE_ALIGN - 1);
    return relocate_all(out_object, NULL, out_why);
}

/* --- placing ---------------------------------------------------------------------------------- */

static void stubs_write(const JitObject *object, uint8_t *to) {
    static const uint8_t jump[STUB_ADDRESS] = {0xFF, 0x25, 2, 0, 0, 0, 0xCC, 0xCC};
    for (uint32_t i = 0; i < object->externals; i++) {
        uint8_t *stub = to + object->stubs + (uint64_t)i * STUB_BYTES;
        AnyFn   *address = externals[object->external[i]].address;
        memcpy(stub, jump, sizeof jump);
        memcpy(stub + STUB_ADDRESS, &address, sizeof address);
    }
}

void jit_object_place(const JitObject *object, uint8_t *to) {
    ASSERT(object && to);
    ASSERT((uintptr_t)to % PLACE_ALIGN == 0);
    const char *why = NULL;
    memset(to, 0xCC, object->size); /* int3 between functions */
    for (uint32_t row = 0; row < object->sections; row++) {
        if (object->place[row] == place_none) continue;
        Elf64_Shdr section = section_of(object, row);
        memcpy(to + object->place[row], object->bytes.data + section.sh_offset, section.sh_size);
    }
    stubs_write(object, to);
    bool placed = relocate_all(object, to, &why);
    ASSERT(placed); /* reading checked every relocation */
    (void)placed;
}
