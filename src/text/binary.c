/* Saving and loading. A Layout is computed from the row counts alone, by writer and reader alike,
 * so the reader compares places instead of trusting them.
 *
 * No file is open while memory is pushed: the reader opens the file for the header, closes it,
 * grows the tables, and opens it again for the columns. Its bytes come through a ReadFn, from a
 * file or from memory. */
#include "text/binary.h"

#include "arena/hash.h"
#include "arena/os.h"
#include "tables/schema.h"
#include "text/check.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "columns are stored as they are in memory");

enum {
    FORMAT_VERSION = 1,
    ALIGN = 64,
    NAME_BYTES = 24,
    COLUMNS_MAX = 128,
    GATHER_BYTES = 256 << 10, /* small columns are written together */
    READ_BYTES = 1 << 20      /* checksums are taken while the bytes are in the cache */
};
static const uint8_t magic[8] = {0x89, 'S', 'T', 'O', 'A', '\r', '\n', 0x1A};

typedef struct Header {
    uint8_t  magic[8];
    uint32_t version;
    uint32_t endian; /* 0x01020304 */
    uint64_t schema; /* schema_hash */
    uint64_t file_bytes;
    uint32_t directory_bytes;
    uint32_t directory_crc;
    uint32_t generation;
    uint8_t  padding[16];
    uint32_t header_crc; /* of all bytes before it */
} Header;
typedef struct TableEntry {
    char     name[NAME_BYTES];
    uint32_t columns, rows;
} TableEntry;
typedef struct ColumnEntry {
    char     name[NAME_BYTES];
    uint32_t width, crc;
    uint64_t offset;
} ColumnEntry;
static_assert(sizeof(Header) == 64 && sizeof(TableEntry) == 32 && sizeof(ColumnEntry) == 40,
              "the structures are stored as they are in memory");

typedef struct Place { /* of one column */
    uint8_t *data;
    uint64_t offset, bytes;
    uint32_t width;
} Place;
typedef struct Layout {
    Place    places[COLUMNS_MAX];
    uint32_t columns, tables;
    uint32_t directory_bytes;
    uint64_t file_bytes;
} Layout;

static uint64_t align(uint64_t bytes) { return (bytes + ALIGN - 1) & ~(uint64_t)(ALIGN - 1); }

/* --- what both sides compute ------------------------------------------------------------------ */
static uint64_t text_hash(uint64_t hash, const char *text) {
    return hash_bytes(text, strlen(text), hash);
}
/* A hash of the vocabularies whose numbers stand in the columns. */
static uint64_t schema_hash(void) {
    uint64_t hash = FORMAT_VERSION;
    for (int i = 0; i < DTYPE_COUNT; i++)
        hash = text_hash(hash_mix(hash, dtype_infos[i].bytes), dtype_infos[i].name);
    for (int i = 0; i < OP_COUNT; i++) {
        const OpInfo *info = &op_infos[i];
        hash = text_hash(hash_mix(hash, info->attrs_count), info->name);
        for (uint32_t k = 0; k < info->attrs_count; k++) {
            const char *const *names = attr_enum_names(info->attrs[k].kind);
            hash = text_hash(hash_mix(hash, info->attrs[k].kind), info->attrs[k].name);
            for (; names != NULL && *names != NULL; names++) hash = text_hash(hash, *names);
        }
    }
    return hash;
}
static Layout layout_of(const World *world) {
    World   *tables = (World *)(uintptr_t)world; /* only read */
    Layout   layout = {0};
    uint64_t offset = 0;
    for (uint32_t i = 0; world_table(tables, i) != NULL; i++) {
        const Table *table = world_table(tables, i);
        layout.tables++;
        for (uint32_t k = 0; k < table->info->columns_count; k++) {
            uint32_t width = table->info->columns[k].width;
            ASSERT(layout.columns < COLUMNS_MAX);
            layout.places[layout.columns++] = (Place){.data = table_column(table, k),
                                                      .offset = offset,
                                                      .bytes = (uint64_t)table->count * width,
                                                      .width = width};
            offset += align((uint64_t)table->count * width);
        }
    }
    layout.directory_bytes =
        (uint32_t)(layout.tables * sizeof(TableEntry) + layout.columns * sizeof(ColumnEntry));
    uint64_t begin = align(sizeof(Header) + layout.directory_bytes);
    for (uint32_t i = 0; i < layout.columns; i++) layout.places[i].offset += begin;
    layout.file_bytes = begin + offset;
    return layout;
}
static void set_name(char *out, const char *name) {
    size_t count = strlen(name);
    ASSERT(count < NAME_BYTES);
    memset(out, 0, NAME_BYTES);
    memcpy(out, name, count);
}
/* The directory of these tables. crcs: by column; zero where they are not known yet. */
static uint8_t *directory_of(Arena *out, const World *world, const Layout *layout,
                             const uint32_t *crcs) {
    World   *tables = (World *)(uintptr_t)world; /* only read */
    uint8_t *bytes = ARENA_ARRAY_ZERO(out, uint8_t, layout->directory_bytes), *at = bytes;
    uint32_t column = 0;
    for (uint32_t i = 0; i < layout->tables; i++) {
        const Table *table = world_table(tables, i);
        TableEntry   entry = {.columns = table->info->columns_count, .rows = table->count};
        set_name(entry.name, table->info->name);
        memcpy(at, &entry, sizeof entry);
        at += sizeof entry;
        for (uint32_t k = 0; k < table->info->columns_count; k++, column++) {
            ColumnEntry part = {.width = layout->places[column].width,
                                .crc = crcs[column],
                                .offset = layout->places[column].offset};
            set_name(part.name, table->info->columns[k].name);
            memcpy(at, &part, sizeof part);
            at += sizeof part;
        }
    }
    return bytes;
}

/* --- writing ---------------------------------------------------------------------------------- */
typedef struct Front { /* header and directory, padded to where the columns begin */
    uint8_t *bytes;
    uint64_t count;
} Front;

static Front front_of(Arena *out, const World *world, const Layout *layout) {
    uint32_t crcs[COLUMNS_MAX];
    for (uint32_t i = 0; i < layout->columns; i++)
        crcs[i] = hash_crc32c(0, layout->places[i].data, layout->places[i].bytes);
    uint8_t *directory = directory_of(out, world, layout, crcs);
    Header   header = {.version = FORMAT_VERSION,
                       .endian = 0x01020304,
                       .schema = schema_hash(),
                       .file_bytes = layout->file_bytes,
                       .directory_bytes = layout->directory_bytes,
                       .generation = world->code.generation};
    memcpy(header.magic, magic, sizeof magic);
    header.directory_crc = hash_crc32c(0, directory, layout->directory_bytes);
    header.header_crc = hash_crc32c(0, &header, offsetof(Header, header_crc));
    Front front = {.count = align(sizeof header + layout->directory_bytes)};
    front.bytes = ARENA_ARRAY_ZERO(out, uint8_t, front.count);
    memcpy(front.bytes, &header, sizeof header);
    memcpy(front.bytes + sizeof header, directory, layout->directory_bytes);
    return front;
}

typedef struct Gather { /* small pieces on their way to the file */
    OsFile   file;
    uint8_t *bytes;
    size_t   count;
    int      error;
} Gather;

static void gather_flush(Gather *gather) {
    if (gather->error == 0) gather->error = os_write(gather->file, gather->bytes, gather->count);
    gather->count = 0;
}
static void gather_add(Gather *gather, const uint8_t *bytes, uint64_t count) {
    if (count > GATHER_BYTES - gather->count) gather_flush(gather);
    if (count > GATHER_BYTES) {
        if (gather->error == 0) gather->error = os_write(gather->file, bytes, count);
        return;
    }
    memcpy(gather->bytes + gather->count, bytes, count);
    gather->count += count;
}

static Status fail_file(Diags *diags, const char *verb, const char *path, int error) {
    (void)diags_add(diags, DIAG_WORLD_FILE, 0, diags_str(diags, str_of(verb)),
                    diags_str(diags, str_of(path)), diags_str(diags, str_of(os_error_text(error))),
                    0);
    return STATUS_IO;
}

Status binary_save(const World *world, const char *path, Diags *diags) {
    static const uint8_t zeros[ALIGN];
    Scratch              scratch = scratch_begin(NULL, 0);
    Layout               layout = layout_of(world);
    Front                front = front_of(scratch.arena, world, &layout);
    String               temp = str_format(scratch.arena, "%s.tmp", path);
    Gather               gather = {.bytes = ARENA_ARRAY(scratch.arena, uint8_t, GATHER_BYTES)};
    const char          *verb = "create";
    gather.error = os_open(temp.data, OS_WRITE_NEW, &gather.file);
    bool made = gather.error == 0;
    if (made) {
        verb = "write";
        gather_add(&gather, front.bytes, front.count);
        for (uint32_t i = 0; i < layout.columns; i++) {
            const Place *place = &layout.places[i];
            gather_add(&gather, place->data, place->bytes);
            gather_add(&gather, zeros, align(place->bytes) - place->bytes);
        }
        gather_flush(&gather);
        int closed = os_close(&gather.file);
        if (gather.error == 0) gather.error = closed;
    }
    if (gather.error == 0) {
        verb = "replace";
        gather.error = os_rename(temp.data, path);
    }
    int ignored = made && gather.error != 0 ? os_remove(temp.data) : 0;
    (void)ignored;
    Status status = gather.error == 0 ? STATUS_OK : fail_file(diags, verb, path, gather.error);
    scratch_end(scratch);
    return status;
}

String binary_bytes(Arena *out, const World *world) {
    Scratch  scratch = scratch_begin(&out, 1);
    Layout   layout = layout_of(world);
    Front    front = front_of(scratch.arena, world, &layout);
    uint8_t *bytes = arena_push_zero(out, layout.file_bytes, ALIGN);
    memcpy(bytes, front.bytes, front.count);
    for (uint32_t i = 0; i < layout.columns; i++)
        memcpy(bytes + layout.places[i].offset, layout.places[i].data, layout.places[i].bytes);
    scratch_end(scratch);
    return (String){(const char *)bytes, layout.file_bytes};
}

/* --- reading ---------------------------------------------------------------------------------- */
typedef struct Source {
    const char *path; /* NULL: the bytes are in memory */
    String      name, memory;
    uint64_t    bytes; /* in all */
    OsFile      file;
    Diags      *diags;
} Source;

static Status fail_damaged(Source *s, const char *what, uint64_t at) {
    (void)diags_add(s->diags, DIAG_WORLD_DAMAGED, 0, diags_str(s->diags, s->name),
                    diags_str(s->diags, str_of(what)), at, 0);
    return STATUS_CORRUPT;
}
static Status fail_version(Source *s, const char *what) {
    (void)diags_add(s->diags, DIAG_WORLD_VERSION, 0, diags_str(s->diags, s->name),
                    diags_str(s->diags, str_of(what)), 0, 0);
    return STATUS_UNSUPPORTED;
}
static int source_open(Source *s) {
    if (s->path == NULL) return 0;
    int error = os_open(s->path, OS_READ, &s->file);
    return error != 0 ? error : os_size(s->file, &s->bytes);
}
static void source_close(Source *s) {
    int ignored = s->path != NULL ? os_close(&s->file) : 0;
    (void)ignored;
}
/* The caller knows that the range is inside. */
static int source_read(Source *s, uint64_t offset, void *into, size_t bytes) {
    if (s->path != NULL) return os_read_at(s->file, offset, into, bytes);
    memcpy(into, s->memory.data + offset, bytes);
    return 0;
}

/* What a header must hold whatever the tables are. */
static Status check_header(Source *s, const Header *header) {
    if (memcmp(header->magic, magic, sizeof magic) != 0)
        return fail_damaged(s, "it does not begin like a saved program", 0);
    if (header->version != FORMAT_VERSION) return fail_version(s, "the file format differs");
    if (header->endian != 0x01020304) return fail_version(s, "the byte order differs");
    if (header->header_crc != hash_crc32c(0, header, offsetof(Header, header_crc)))
        return fail_damaged(s, "the checksum of the header is wrong", offsetof(Header, header_crc));
    if (header->schema != schema_hash())
        return fail_version(s, "operators, attributes or element types differ");
    if (header->file_bytes != s->bytes)
        return fail_damaged(s, "the file is cut off or too long", s->bytes);
    return STATUS_OK;
}

/* Reads header and directory. directory: bytes of this build's directory, no other size can do. */
static Status read_front(Source *s, Header *header, uint8_t *directory, uint32_t directory_bytes) {
    int    error = source_open(s);
    Status status = STATUS_OK;
    bool   fits = error == 0 && s->bytes >= sizeof *header + directory_bytes;
    if (fits) error = source_read(s, 0, header, sizeof *header);
    if (fits && error == 0) error = source_read(s, sizeof *header, directory, directory_bytes);
    source_close(s);
    if (error != 0) return fail_file(s->diags, "read", s->path, error);
    if (!fits) return fail_damaged(s, "it is too short", s->bytes);
    status = check_header(s, header);
    if (status != STATUS_OK) return status;
    if (header->directory_bytes != directory_bytes) return fail_version(s, "tables differ");
    if (header->directory_crc != hash_crc32c(0, directory, directory_bytes))
        return fail_damaged(s, "the checksum of the directory is wrong", sizeof *header);
    return STATUS_OK;
}

/* Grows the tables to the rows that the directory names, once the file is known to hold them. */
static Status take_rows(Source *s, World *world, const uint8_t *directory, uint32_t *out_crcs) {
    const uint8_t *at = directory;
    uint32_t       column = 0;
    uint64_t       sum = 0;
    for (uint32_t i = 0; world_table(world, i) != NULL; i++) {
        Table     *table = world_table(world, i);
        TableEntry entry;
        memcpy(&entry, at, sizeof entry);
        if (entry.columns != table->info->columns_count) return fail_version(s, "tables differ");
        at += sizeof entry + entry.columns * sizeof(ColumnEntry);
        if (entry.rows == 0 || entry.rows > table->rows_max)
            return fail_damaged(s, "a table has no rows or too many", sizeof(Header));
        sum += (uint64_t)entry.rows * table->info->row_bytes;
        if (sum > s->bytes) return fail_damaged(s, "it is too short for its rows", s->bytes);
        if (entry.rows > table->count) table_grow(table, entry.rows - table->count);
        table->count = entry.rows;
        for (uint32_t k = 0; k < entry.columns; k++) {
            ColumnEntry part;
            memcpy(&part, at - (entry.columns - k) * sizeof part, sizeof part);
            out_crcs[column++] = part.crc;
        }
    }
    return STATUS_OK;
}

/* What went wrong while the file was open; reported after it is closed. */
typedef struct Fault {
    const char *what; /* NULL: nothing, or a file error */
    uint64_t    at;
    int         error;
} Fault;

static Fault read_column(Source *s, const Place *place, uint32_t crc) {
    uint32_t got = 0;
    for (uint64_t done = 0; done < place->bytes;) {
        size_t bytes = place->bytes - done < READ_BYTES ? place->bytes - done : READ_BYTES;
        int    error = source_read(s, place->offset + done, place->data + done, bytes);
        if (error != 0) return (Fault){.error = error};
        got = hash_crc32c(got, place->data + done, bytes);
        done += bytes;
    }
    if (got == crc) return (Fault){0};
    return (Fault){.what = "the checksum of a column is wrong", .at = place->offset};
}
static Status read_columns(Source *s, const Layout *layout, const uint32_t *crcs) {
    uint64_t before = s->bytes;
    Fault    fault = {.error = source_open(s)};
    if (fault.error == 0 && s->bytes != before) fault.what = "it changed while being read";
    for (uint32_t i = 0; i < layout->columns && fault.error == 0 && fault.what == NULL; i++)
        fault = read_column(s, &layout->places[i], crcs[i]);
    source_close(s);
    if (fault.error != 0) return fail_file(s->diags, "read", s->path, fault.error);
    return fault.what != NULL ? fail_damaged(s, fault.what, fault.at) : STATUS_OK;
}

static Status load_rows(Source *s, World *world, Arena *scratch) {
    Header   header;
    uint32_t crcs[COLUMNS_MAX];
    Layout   layout = layout_of(world);
    uint8_t *directory = ARENA_ARRAY(scratch, uint8_t, layout.directory_bytes);
    Status   status = read_front(s, &header, directory, layout.directory_bytes);
    if (status == STATUS_OK) status = take_rows(s, world, directory, crcs);
    if (status != STATUS_OK) return status;
    layout = layout_of(world);
    const uint8_t *expected = directory_of(scratch, world, &layout, crcs);
    if (memcmp(expected, directory, layout.directory_bytes) != 0)
        return fail_version(s, "tables differ");
    if (layout.file_bytes != s->bytes) return fail_damaged(s, "its size is wrong", s->bytes);
    status = read_columns(s, &layout, crcs);
    world->code.generation = header.generation;
    return status;
}

static Status load(Source *s, World *world) {
    Scratch scratch = scratch_begin(NULL, 0);
    Status  status = load_rows(s, world, scratch.arena);
    scratch_end(scratch);
    if (status != STATUS_OK) return status;
    if (!check_world(world, s->diags)) return STATUS_CORRUPT;
    world_reindex(world);
    return STATUS_OK;
}

Status binary_load(World *world, const char *path, Diags *diags) {
    Source source = {.path = path, .name = str_of(path), .file = {-1}, .diags = diags};
    return load(&source, world);
}
Status binary_load_bytes(World *world, String bytes, String name, Diags *diags) {
    Source source = {.name = name, .memory = bytes, .bytes = bytes.count, .diags = diags};
    return load(&source, world);
}

bool binary_is(String bytes) {
    return bytes.count >= sizeof magic && memcmp(bytes.data, magic, sizeof magic) == 0;
}
