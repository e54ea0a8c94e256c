/* A stand-in for NVRTC: whatever the text, the code is the image that the stand-in driver loads. */
#include "fake_cuda.h"

#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define ONLY_DRIVER(result, name, parameters)
#define ONLY_NVRTC(result, name, parameters) EXPORT result name parameters;
#define ONLY_BLASLT(result, name, parameters)
#define ONLY_CUDNN(result, name, parameters)
#define ONLY_CUPTI(result, name, parameters)
#define ONLY_NVTX(result, name, parameters)
#define ONLY_NCCL(result, name, parameters)
#define GPU_FN(library, result, name, parameters) ONLY_##library(result, name, parameters)
#include "gpu/functions.def"

NvrtcResult nvrtcVersion(int *major, int *minor) {
    *major = 13;
    *minor = 0;
    return 0;
}
const char *nvrtcGetErrorString(NvrtcResult result) { return result == 0 ? "none" : "some"; }
NvrtcResult nvrtcCreateProgram(NvrtcProgram *program, const char *source, const char *name,
                               int headers, const char *const *header_texts,
                               const char *const *header_names) {
    static int some;
    (void)source, (void)name, (void)headers, (void)header_texts, (void)header_names;
    *program = (NvrtcProgram)(void *)&some;
    return 0;
}
NvrtcResult nvrtcDestroyProgram(NvrtcProgram *program) {
    *program = NULL;
    return 0;
}
NvrtcResult nvrtcCompileProgram(NvrtcProgram program, int options, const char *const *texts) {
    (void)program, (void)options, (void)texts;
    return 0;
}
NvrtcResult nvrtcGetProgramLogSize(NvrtcProgram program, size_t *bytes) {
    (void)program;
    *bytes = 1;
    return 0;
}
NvrtcResult nvrtcGetProgramLog(NvrtcProgram program, char *log) {
    (void)program;
    *log = 0;
    return 0;
}
NvrtcResult nvrtcGetCUBINSize(NvrtcProgram program, size_t *bytes) {
    (void)program;
    *bytes = sizeof FAKE_IMAGE;
    return 0;
}
NvrtcResult nvrtcGetCUBIN(NvrtcProgram program, char *image) {
    (void)program;
    memcpy(image, FAKE_IMAGE, sizeof FAKE_IMAGE);
    return 0;
}
