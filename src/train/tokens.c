/* Token files: writing, mapping, checking, splitting. The layout is in tokens.h.
 *
 * The header is one struct without padding, written and read as it lies in memory. A file is
 * checked from the outside in: size, magic, version, header checksum, fields, payload checksum,
 * tokens; each check may rely on those before it. Nothing is pushed while a file is open or mapped
 * for checking: failures are values until the file is closed again. */
#include "train/tokens.h"

#include <math.h>

#include "arena/hash.h"
#include "formats/files.h"

typedef struct Header {
    char     magic[8];
    uint32_t version, token_bytes, vocab, zero;
    uint64_t tokenizer_hash, count;
    uint32_t tokens_crc;
    uint8_t  zeros[16];
    uint32_t crc;
} Header;
static_assert(sizeof(Header) == 64, "no padding, and the tokens are aligned");
static_assert(offsetof(Header, crc) == 60, "the checksum covers all before it");
enum { VERSION = 1, VOCAB_MAX = 65535, SCAN_TOKENS = 1 << 15 };
static const char MAGIC[8] = {'s', 't', 'o', 'a', 't', 'k', 'n', '\n'};

/* --- checks ----------------------------------------------------------------------------------- */

static Failure header_check(const Header *header, uint64_t bytes) {
    if (header->version != VERSION)
        return failure_format(STATUS_UNSUPPORTED, "token file of version 1", "it is newer");
    if (header->crc != hash_crc32c(0, header, offsetof(Header, crc)))
        return failure_damaged("the checksum of its header is wrong", offsetof(Header, crc));
    Header known = {.zero = 0};
    if (header->zero != 0 || memcmp(header->zeros, known.zeros, sizeof known.zeros) != 0 ||
        header->token_bytes != sizeof(uint16_t) || header->vocab == 0 || header->vocab > VOCAB_MAX)
        return failure_damaged("its header is out of range", offsetof(Header, token_bytes));
    uint64_t payload = bytes - sizeof(Header);
    if (payload % sizeof(uint16_t) != 0 || header->count != payload / sizeof(uint16_t))
        return failure_damaged("its size does not fit its number of tokens", bytes);
    return (Failure){0};
}

static Failure file_check(String bytes, Header *out_header) {
    if (bytes.count < sizeof(Header) || memcmp(bytes.data, MAGIC, sizeof MAGIC) != 0)
        return failure_format(STATUS_CORRUPT, "token file", "it begins with other bytes");
    memcpy(out_header, bytes.data, sizeof *out_header);
    Failure failure = header_check(out_header, bytes.count);
    if (failure_some(failure)) return failure;
    uint32_t crc = hash_crc32c(0, bytes.data + sizeof(Header), bytes.count - sizeof(Header));
    if (crc != out_header->tokens_crc)
        return failure_damaged("the checksum of its tokens is wrong", offsetof(Header, tokens_crc));
    return failure;
}

/* The position of the first token that is not below vocab, or run.count. The inner loop has no
 * exit, so that it vectorises; a hit is then looked for in its piece. */
static uint64_t first_outside(TokenRun run, uint32_t vocab) {
    ASSERT(vocab > 0 && vocab <= VOCAB_MAX);
    for (uint64_t at = 0; at < run.count; at += SCAN_TOKENS) {
        uint64_t end = run.count - at < SCAN_TOKENS ? run.count : at + SCAN_TOKENS;
        uint16_t most = 0;
        for (uint64_t i = at; i < end; i++) most = run.data[i] > most ? run.data[i] : most;
        if (most < vocab) continue;
        while (run.data[at] < vocab) at++;
        return at;
    }
    return run.count;
}

static Status report_token(Diags *diags, const char *path, uint16_t token, uint32_t vocab) {
    diags_add(diags, DIAG_DATA_TOKEN, 0, diags_str(diags, str_of(path)), token, vocab, 0);
    return STATUS_INVALID;
}

/* --- files ------------------------------------------------------------------------------------ */

Status tokens_write(const char *path, TokenRun run, uint32_t vocab, uint64_t tokenizer_hash,
                    Diags *diags) {
    uint64_t outside = first_outside(run, vocab);
    if (outside < run.count) return report_token(diags, path, run.data[outside], vocab);
    size_t payload = (size_t)run.count * sizeof *run.data;
    Header header = {.version = VERSION,
                     .token_bytes = sizeof *run.data,
                     .vocab = vocab,
                     .tokenizer_hash = tokenizer_hash,
                     .count = run.count,
                     .tokens_crc = hash_crc32c(0, run.data, payload)};
    memcpy(header.magic, MAGIC, sizeof MAGIC);
    header.crc = hash_crc32c(0, &header, offsetof(Header, crc));
    Scratch scratch = scratch_begin(NULL, 0);
    String  temp = str_format(scratch.arena, "%s.tmp", path);
    String  folder = files_folder(scratch.arena, path);
    OsFile  file = {-1};
    Failure failure = failure_file("create", os_open(temp.data, OS_WRITE_NEW, &file));
    bool    made = !failure_some(failure);
    if (made) failure = failure_file("write", os_write(file, &header, sizeof header));
    if (!failure_some(failure)) failure = failure_file("write", os_write(file, run.data, payload));
    if (!failure_some(failure)) failure = failure_file("sync", os_sync(file));
    int error = os_close(&file);
    if (!failure_some(failure)) failure = failure_file("close", error);
    if (!failure_some(failure)) failure = files_publish(temp.data, path, folder.data);
    if (made && failure_some(failure)) files_discard(temp.data);
    scratch_end(scratch);
    return report_failure(diags, path, failure);
}

/* All checks of a file in memory, reporting nothing. out_outside: a token beyond the vocabulary. */
static Failure tokens_check(Tokens *tokens, String bytes, bool *out_outside, uint16_t *out_token) {
    Header  header;
    Failure failure = file_check(bytes, &header);
    *out_outside = false;
    if (failure_some(failure)) return failure;
    const void *payload = bytes.data + sizeof header;
    *tokens = (Tokens){.run = {payload, header.count},
                       .vocab = header.vocab,
                       .tokenizer_hash = header.tokenizer_hash};
    uint64_t outside = first_outside(tokens->run, tokens->vocab);
    *out_outside = outside < tokens->run.count;
    if (*out_outside) *out_token = tokens->run.data[outside];
    return failure;
}

static Status tokens_report(Tokens *tokens, const char *name, Failure failure, bool outside,
                            uint16_t token, Diags *diags) {
    uint32_t vocab = tokens->vocab;
    if (!failure_some(failure) && !outside) return STATUS_OK;
    *tokens = (Tokens){0};
    return outside ? report_token(diags, name, token, vocab) : report_failure(diags, name, failure);
}

Status tokens_of_bytes(Tokens *tokens, String bytes, const char *name, Diags *diags) {
    bool     outside = false;
    uint16_t token = 0;
    *tokens = (Tokens){0};
    Failure failure = tokens_check(tokens, bytes, &outside, &token);
    return tokens_report(tokens, name, failure, outside, token, diags);
}

Status tokens_open(Tokens *tokens, const char *path, Diags *diags) {
    bool     outside = false;
    uint16_t token = 0;
    OsMap    map;
    *tokens = (Tokens){0};
    Failure failure = failure_file("open", os_map(path, &map));
    if (!failure_some(failure)) {
        String bytes = {(const char *)map.data, map.bytes};
        failure = tokens_check(tokens, bytes, &outside, &token);
    }
    if (failure_some(failure) || outside) os_unmap(&map);
    tokens->map = map;
    return tokens_report(tokens, path, failure, outside, token, diags);
}

void tokens_close(Tokens *tokens) {
    os_unmap(&tokens->map);
    *tokens = (Tokens){0};
}

/* --- what is asked of a run ------------------------------------------------------------------- */

void tokens_split(TokenRun all, double fraction, TokenRun *out_train, TokenRun *out_validation) {
    ASSERT(fraction >= 0 && fraction <= 1);
    uint64_t tail = (uint64_t)((double)all.count * fraction);
    if (tail > all.count) tail = all.count;
    *out_train = (TokenRun){all.data, all.count - tail};
    *out_validation = (TokenRun){all.data ? all.data + (all.count - tail) : NULL, tail};
}

double tokens_entropy(TokenRun run, uint64_t *counts, uint32_t vocab) {
    double entropy = 0;
    memset(counts, 0, vocab * sizeof *counts);
    for (uint64_t i = 0; i < run.count; i++) {
        ASSERT(run.data[i] < vocab);
        counts[run.data[i]]++;
    }
    for (uint32_t token = 0; token < vocab; token++) {
        if (counts[token] == 0) continue;
        double share = (double)counts[token] / (double)run.count;
        entropy -= share * log(share);
    }
    return entropy;
}
