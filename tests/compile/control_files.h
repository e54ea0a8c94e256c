/* Programs of a file of golden runs (tests/run): their text, sizes and inputs as given there. */
#ifndef STOA_TESTS_CONTROL_FILES_H
#define STOA_TESTS_CONTROL_FILES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena/os.h"
#include "arena/str.h"

enum { FILE_PROGRAMS_MAX = 64, FILE_INPUTS_MAX = 8, FILE_NUMBERS_MAX = 32 };
typedef struct FileInput {
    String   name;
    double   numbers[FILE_NUMBERS_MAX];
    uint32_t count;
} FileInput;
typedef struct FileProgram {
    String    text;
    FileInput inputs[FILE_INPUTS_MAX];
    uint32_t  inputs_count, line;
    String    size_name; /* no data if there is none */
    int64_t   size;
} FileProgram;

static inline String file_word(String *line) {
    const char *end = memchr(line->data, ' ', line->count);
    size_t      count = end != NULL ? (size_t)(end - line->data) : line->count;
    String      word = {line->data, count};
    *line = (String){line->data + count, line->count - count};
    if (line->count > 0) *line = (String){line->data + 1, line->count - 1};
    return word;
}
/* "input NAME [1, 2]" or "size NAME=4" */
static inline void file_read_line(FileProgram *program, String line) {
    if (str_starts(line, STR("; input "))) {
        FileInput *input = &program->inputs[program->inputs_count++];
        line = (String){line.data + 8, line.count - 8};
        input->name = file_word(&line);
        for (const char *at = line.data; at < line.data + line.count;) {
            char  *end;
            double number = strtod(at + 1, &end);
            if (end == at + 1) break;
            input->numbers[input->count++] = number;
            at = end;
        }
    }
    if (str_starts(line, STR("; size "))) {
        const char *is = memchr(line.data, '=', line.count);
        program->size_name = (String){line.data + 7, (size_t)(is - line.data) - 7};
        program->size = strtoll(is + 1, NULL, 10);
    }
}
/* How many there are; strings lie in arena. */
static inline uint32_t file_programs(Arena *arena, const char *path, FileProgram *out) {
    OsMap    map;
    uint32_t count = 0, line_number = 0;
    if (os_map(path, &map) != 0) return 0;
    String rest = str_copy(arena, (String){(const char *)map.data, map.bytes});
    os_unmap(&map);
    while (rest.count > 0) {
        const char *newline = memchr(rest.data, '\n', rest.count);
        size_t      bytes = newline != NULL ? (size_t)(newline - rest.data) : rest.count;
        String      line = {rest.data, bytes};
        line_number++;
        if (str_starts(line, STR("; test ")) && count < FILE_PROGRAMS_MAX)
            out[count++] = (FileProgram){.text = {rest.data, 0}, .line = line_number};
        bytes += newline != NULL;
        if (count > 0) {
            FileProgram *program = &out[count - 1];
            program->text.count += bytes;
            file_read_line(program, line);
        }
        rest = (String){rest.data + bytes, rest.count - bytes};
    }
    return count;
}

#endif
