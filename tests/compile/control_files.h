/* Programs of a file of golden runs (tests/run): their text, sizes and inputs as given there. The
 * file becomes part of the test, which may be carried to another machine. */
#ifndef STOA_TESTS_CONTROL_FILES_H
#define STOA_TESTS_CONTROL_FILES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena/str.h"
#include "tables/consts.h"
#include "tables/tensor.h"

#define FILE_EMBED(name, path)                                                                     \
    extern const char file_##name[], file_##name##_end[];                                          \
    __asm__(".section .rodata\nfile_" #name ": .incbin \"" STOA_SOURCE_DIR "/" path                \
            "\"\nfile_" #name "_end: .byte 0\n.text\n")
#define FILE_TEXT(name) ((String){file_##name, (size_t)(file_##name##_end - file_##name)})

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
/* How many there are; they point into the text. */
static inline uint32_t file_programs(String rest, FileProgram *out) {
    uint32_t count = 0, line_number = 0;
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
/* Fills an input that the file has numbers for. */
static inline bool file_fill(const FileProgram *program, String name, Tensor *x) {
    for (uint32_t k = 0; k < program->inputs_count; k++) {
        const FileInput *input = &program->inputs[k];
        if (!str_same(name, input->name) || input->count == 0) continue;
        for (int64_t i = 0; i < tensor_elements(x); i++)
            (void)const_encode(x->dtype, input->numbers[i % input->count],
                               (char *)x->data + i * (int64_t)dtype_bytes(x->dtype));
        return true;
    }
    return false;
}

#endif
