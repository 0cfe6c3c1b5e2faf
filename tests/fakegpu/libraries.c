/* The same for what lies above and below the runtime: cuBLAS, cuDNN, NCCL, kernels' names, and the driver, through which
   Triton comes. Entries that only need to succeed are written by build.py. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fake.h"

/* ---- kernels that the compiler has registered ---- */
#define SLOTS (1 << 18)
static struct { const void *function; const char *name; } kernels[SLOTS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int slot_of(const void *function) {
    int i = ((uintptr_t)function >> 4) % SLOTS;
    while (kernels[i].function && kernels[i].function != function) i = (i + 1) % SLOTS;
    return i;
}
void **__cudaRegisterFatBinary(void *binary) { static void *one; return &one; }
void __cudaRegisterFunction(void **h, const char *function, char *device, const char *name) {
    pthread_mutex_lock(&lock);
    int i = slot_of(function);
    kernels[i].function = function;
    kernels[i].name = name;
    pthread_mutex_unlock(&lock);
}
static int launched(const void *function, void *stream) {
    const char *name = kernels[slot_of(function)].name;
    return start(name ? name : "?", stream);
}

typedef struct { unsigned x, y, z; } Size;
static __thread struct { Size grid, block; size_t shared; void *stream; } pushed;
unsigned __cudaPushCallConfiguration(Size grid, Size block, size_t shared, void *stream) {
    pushed.grid = grid, pushed.block = block, pushed.shared = shared, pushed.stream = stream;
    return 0;
}
int __cudaPopCallConfiguration(Size *grid, Size *block, size_t *shared, void **stream) {
    *grid = pushed.grid, *block = pushed.block, *shared = pushed.shared, *stream = pushed.stream;
    return 0;
}
int __cudaGetKernel(const void **kernel, const void *function) { *kernel = function; return 0; }
int __cudaLaunchKernel(const void *f, Size g, Size b, void **a, size_t m, void *s) { return launched(f, s); }
int cudaLaunchKernel(const void *f, Size g, Size b, void **a, size_t m, void *s) { return launched(f, s); }
int cudaLaunchCooperativeKernel(const void *f, Size g, Size b, void **a, size_t m, void *s) { return launched(f, s); }
typedef struct { Size grid, block; size_t shared; void *stream; } Config; /* the head of cudaLaunchConfig_t */
int cudaLaunchKernelExC(const Config *c, const void *f, void **a) { return launched(f, c->stream); }
typedef struct { size_t shared, constant, local; int threads, registers, ptx, binary, cache, dynamic; } Facts;
int cudaFuncGetAttributes(Facts *a, const void *f) {
    a->shared = a->constant = a->local = 0;
    a->threads = 1024, a->registers = 32, a->ptx = a->binary = 90, a->cache = 0, a->dynamic = attribute(97);
    return 0;
}
int cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *n) { *n = 2; return 0; }
int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *n) { *n = 2; return 0; }

/* ---- cuBLAS and cuDNN: a handle begins with its stream ---- */
int on_handle(const char *name, void **h) { return start(name, *h); }
int cublasCreate_v2(void **h) { *h = handle(); return 0; }
int cublasSetStream_v2(void **h, void *stream) { *h = stream; return 0; }
int cublasGetMathMode(void *h, int *mode) { *mode = 0; return 0; }
int cublasGetPointerMode_v2(void *h, int *mode) { *mode = 0; return 0; }
size_t cublasLtGetVersion(void) { return 130101; }
int cublasLtMatmulDescCreate(void **d) { *d = handle(); return 0; }
int cublasLtMatrixLayoutCreate(void **d) { *d = handle(); return 0; }
int cublasLtMatmulPreferenceCreate(void **d) { *d = handle(); return 0; }
int cublasLtMatmulDescDestroy(void *d) { free(d); return 0; }
int cublasLtMatrixLayoutDestroy(void *d) { free(d); return 0; }
int cublasLtMatmulPreferenceDestroy(void *d) { free(d); return 0; }
int cublasLtMatmulAlgoGetHeuristic(
    void *h, void *d, void *a, void *b, void *c, void *e, void *p, int most, char (*found)[96], int *count
) { memset(*found, 0, 96); *count = 1; return 0; }
int cublasLtMatmul(
    void *h, void *d, void *alpha, void *a, void *al, void *b, void *bl, void *beta, void *c, void *cl, void *o, void *ol,
    void *algorithm, void *workspace, size_t size, void *stream
) { return start("cublasLtMatmul", stream); }

int cudnnCreate(void **h) { *h = handle(); return 0; }
int cudnnSetStream(void **h, void *stream) { *h = stream; return 0; }
int cudnnGetStream(void **h, void **stream) { *stream = *h; return 0; }
int cudnnGetProperty(int which, int *value) { *value = which == 0 ? 9 : which == 1 ? 24 : 0; return 0; }
int cudnnCreateTensorDescriptor(void **d) { *d = handle(); return 0; }
int cudnnCreateFilterDescriptor(void **d) { *d = handle(); return 0; }
int cudnnCreateConvolutionDescriptor(void **d) { *d = handle(); return 0; }
int cudnnDestroyTensorDescriptor(void *d) { free(d); return 0; }
int cudnnDestroyFilterDescriptor(void *d) { free(d); return 0; }
int cudnnDestroyConvolutionDescriptor(void *d) { free(d); return 0; }
/* The frontend asks for plans: there is one, it needs no workspace, and nothing is to be noted about it. */
enum { INT64 = 3, DESCRIPTOR = 15 }; /* cudnnBackendAttributeType_t */
int cudnnBackendCreateDescriptor(int type, void **d) { *d = handle(); return 0; }
int cudnnBackendDestroyDescriptor(void *d) { free(d); return 0; }
int cudnnBackendGetAttribute(void *d, int name, int type, int64_t most, int64_t *count, void *elements) {
    if (count) *count = type == INT64 || type == DESCRIPTOR;
    if (most && elements && type == INT64) *(int64_t *)elements = 0;
    return 0;
}
int cudnnBackendExecute(void **h, void *plan, void *pack) { return start("cudnnBackendExecute", *h); }

/* ---- NCCL ---- */
int ncclGetVersion(int *v) { *v = 22907; return 0; }
int ncclCommInitRank(void **c) { *c = handle(); return 0; }
int ncclCommInitRankConfig(void **c) { *c = handle(); return 0; }
int ncclCommGetAsyncError(void *c, int *error) { *error = 0; return 0; }

/* ---- the driver: libcuda.so.1 is this library too ---- */
static int success(void) { return 0; }
static int context_state(int d, unsigned *flags, int *active) { if (flags) *flags = 0; *active = 1; return 0; }
int cuCtxGetCurrent(void **c) { static int one; *c = &one; return 0; }
int cudaGetDriverEntryPointByVersion(const char *name, void **f, unsigned version, unsigned long long flags, int *status) {
    *f = !strcmp(name, "cuDevicePrimaryCtxGetState") ? (void *)context_state
        : !strcmp(name, "cuCtxGetCurrent") ? (void *)cuCtxGetCurrent : (void *)success;
    if (status) *status = 0;
    return 0;
}
int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int *v) { *v = 13000; return 0; }
int cuDeviceGetCount(int *n) { *n = devices(); return 0; }
int cuDeviceGet(int *d, int n) { *d = n; return 0; }
int cuDeviceGetAttribute(int *v, int which, int d) { *v = attribute(which); return 0; }
int cuCtxSetCurrent(void *c) { return 0; }
int cuCtxGetDevice(int *d) { *d = current_device(); return 0; }
int cuCtxGetLimit(size_t *v, int which) { *v = 1 << 20; return 0; }
int cuCtxSetLimit(int which, size_t v) { return 0; }
int cuDevicePrimaryCtxGetState(int d, unsigned *flags, int *active) { return context_state(d, flags, active); }
int cuDevicePrimaryCtxRetain(void **c, int d) { return cuCtxGetCurrent(c); }
int cuGetErrorString(int e, const char **text) { *text = "fake"; return 0; }
int cuModuleLoad(void **m, const char *file) { *m = handle(); return 0; }
int cuModuleLoadData(void **m, const void *image) { *m = handle(); return 0; }
int cuModuleUnload(void *m) { return 0; }
int cuModuleGetFunction(char **f, void *m, const char *name) {
    *f = handle();
    snprintf(*f, 256, "triton:%s", name);
    return 0;
}
int cuFuncGetAttribute(int *v, int which, void *f) { *v = which == 0 ? 1024 : which == 4 ? 128 : 0; return 0; }
int cuFuncSetAttribute(void *f, int which, int v) { return 0; }
int cuFuncSetCacheConfig(void *f, int c) { return 0; }
int cuOccupancyMaxActiveClusters(int *n) { *n = 1; return 0; }
int cuOccupancyMaxActiveBlocksPerMultiprocessor(int *n) { *n = 2; return 0; }
int cuPointerGetAttribute(uintptr_t *v, int which, uintptr_t p) { if (which == 3) *v = p; return 0; }

static int triton(const char *name, void *stream, void **arguments) {
    if (arguments && arguments[0]) check_pointer(name, *(void **)arguments[0]);
    return start(name, stream);
}
typedef struct { Size grid, block; unsigned shared; void *stream; } DriverConfig; /* the head of CUlaunchConfig */
int cuLaunchKernelEx(DriverConfig *c, char *f, void **arguments, void **extra) { return triton(f, c->stream, arguments); }
int cuLaunchKernel(
    char *f, unsigned a, unsigned b, unsigned c, unsigned d, unsigned e, unsigned g, unsigned shared, void *stream,
    void **arguments, void **extra
) { return triton(f, stream, arguments); }
