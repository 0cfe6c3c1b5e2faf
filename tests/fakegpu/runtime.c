/* A CUDA runtime that does nothing but count: what torch calls of libcudart.

   Device memory is address space that nobody may touch, kernels are names, copies to the host give zeros. torch's whole
   CUDA path runs on it, and what it begins, copies and waits for is what it would on a GPU. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <driver_types.h>
#include "fake.h"

#define OUT_OF_MEMORY 2
#define CAPTURE_UNSUPPORTED 900
#define MEMORY 85017755648ul /* bytes, of an H100 */

/* ---- counting ---- */
#define NAMES (1 << 20)
long fake_counters[COUNTERS];
const char *fake_names[NAMES]; /* of starts, in order */

void count(int which) { __atomic_fetch_add(&fake_counters[which], 1, __ATOMIC_RELAXED); }

int start(const char *name, void *stream) {
    Stream *s = stream;
    if ((uintptr_t)stream > 2 && s->capture) { s->capture->nodes++; return 0; } /* 1 and 2 name default streams */
    fake_names[__atomic_fetch_add(&fake_counters[STARTS], 1, __ATOMIC_RELAXED) % NAMES] = name;
    return 0;
}

static int capturing;

static int wait(long queued) { /* queued: starts at the moment that is waited for */
    count(WAITS);
    if (queued == fake_counters[STARTS]) count(IDLE_WAITS);
    if (capturing) count(CAPTURED_WAITS);
    return capturing ? CAPTURE_UNSUPPORTED : 0;
}

/* ---- devices ---- */
static __thread int current;
int devices(void) { return getenv("FAKE_GPUS") ? atoi(getenv("FAKE_GPUS")) : 1; }
int current_device(void) { return current; }
void *handle(void) { return calloc(1, 256); }

int attribute(int which) {
    switch (which) { /* cudaDevAttr...; the driver has the same numbers */
    case 1: case 2: case 3: return 1024;          /* threads of a block, and along x and y */
    case 4: return 64;                            /* along z */
    case 5: return 2147483647;                    /* blocks along x */
    case 6: case 7: return 65535;
    case 8: return 49152;                         /* bytes of shared memory of a block */
    case 10: return 32;                           /* warp */
    case 12: case 82: return 65536;               /* registers of a block, of a multiprocessor */
    case 16: return 132;                          /* multiprocessors */
    case 38: return 52428800;                     /* bytes of L2 */
    case 39: return 2048;                         /* threads of a multiprocessor */
    case 41: case 95: return 1;                   /* unified addressing, cooperative launch */
    case 75: return 9;                            /* capability 9.0 */
    case 81: return 233472;                       /* bytes of shared memory of a multiprocessor */
    case 97: return 232448;                       /* of a block, on request */
    case 106: return 32;                          /* blocks of a multiprocessor */
    }
    return 0;
}

int cudaGetDeviceCount(int *n) { *n = devices(); return 0; }
int cudaGetDevice(int *d) { *d = current; return 0; }
int cudaSetDevice(int d) { current = d; return 0; }
int cudaDriverGetVersion(int *v) { *v = 13000; return 0; }
int cudaRuntimeGetVersion(int *v) { *v = 13000; return 0; }
int cudaDeviceCanAccessPeer(int *can, int a, int b) { *can = 1; return 0; }
int cudaDeviceGetStreamPriorityRange(int *least, int *greatest) { *least = 0; *greatest = -5; return 0; }
int cudaDeviceGetPCIBusId(char *id, int size, int d) { snprintf(id, size, "0000:%02x:00.0", d + 1); return 0; }
int cudaDeviceGetAttribute(int *value, int which, int d) { *value = attribute(which); return 0; }
const char *cudaGetErrorString(int e) { return e == OUT_OF_MEMORY ? "out of memory" : "not in a captured graph (fake)"; }
const char *cudaGetErrorName(int e) { return e == OUT_OF_MEMORY ? "cudaErrorMemoryAllocation" : "cudaErrorFake"; }

int cudaGetDeviceProperties(struct cudaDeviceProp *p, int d) {
    memset(p, 0, sizeof *p);
    strcpy(p->name, "a fake H100");
    p->uuid.bytes[0] = d + 1;
    p->totalGlobalMem = MEMORY;
    p->sharedMemPerBlock = attribute(8);
    p->sharedMemPerMultiprocessor = attribute(81);
    p->sharedMemPerBlockOptin = attribute(97);
    p->regsPerBlock = p->regsPerMultiprocessor = attribute(12);
    p->warpSize = attribute(10);
    p->maxThreadsPerBlock = attribute(1);
    p->maxThreadsPerMultiProcessor = attribute(39);
    for (int i = 0; i < 3; i++) { p->maxThreadsDim[i] = attribute(2 + i); p->maxGridSize[i] = attribute(5 + i); }
    p->major = attribute(75);
    p->minor = attribute(76);
    p->multiProcessorCount = attribute(16);
    p->maxBlocksPerMultiProcessor = attribute(106);
    p->l2CacheSize = attribute(38);
    p->concurrentKernels = p->unifiedAddressing = p->cooperativeLaunch = 1;
    p->asyncEngineCount = 3;
    p->textureAlignment = 512;
    return 0;
}

/* ---- memory ---- */
typedef struct { uintptr_t at; size_t size; int device; } Range; /* device -1: pinned memory of the host */
#define RANGES (1 << 16)
static Range ranges[RANGES];
static int range_count;
static size_t used[64];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static Range *range_of(const void *p) {
    for (int i = 0; i < range_count; i++)
        if ((uintptr_t)p - ranges[i].at < ranges[i].size) return &ranges[i];
    return NULL;
}

static int keep(void *p, size_t size, int device) {
    pthread_mutex_lock(&lock);
    int i = 0;
    while (i < range_count && ranges[i].size) i++;
    if (i == RANGES) abort();
    ranges[i] = (Range){(uintptr_t)p, size, device};
    if (i == range_count) range_count++;
    if (device >= 0) used[device] += size;
    pthread_mutex_unlock(&lock);
    return 0;
}

static int reserve(void **p, size_t size, int device) {
    size = size ? (size + 4095) & ~4095ul : 4096;
    size_t most = getenv("FAKE_BYTES") ? strtoull(getenv("FAKE_BYTES"), NULL, 10) : MEMORY - (1ul << 30);
    if (device >= 0 && used[device] + size > most) return OUT_OF_MEMORY;
    int access = device < 0 ? PROT_READ | PROT_WRITE : PROT_NONE;
    *p = mmap(NULL, size, access, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return *p == MAP_FAILED ? OUT_OF_MEMORY : keep(*p, size, device);
}

static int drop(void *p, int unmap) {
    pthread_mutex_lock(&lock);
    Range *r = p ? range_of(p) : NULL;
    if (r && r->at == (uintptr_t)p) {
        if (r->device >= 0) used[r->device] -= r->size;
        if (unmap) munmap(p, r->size);
        r->size = 0;
    }
    pthread_mutex_unlock(&lock);
    return 0;
}

int cudaMalloc(void **p, size_t size) { return reserve(p, size, current); }
int cudaMallocAsync(void **p, size_t size, void *s) { return reserve(p, size, current); }
int cudaFree(void *p) { return drop(p, 1); }
int cudaFreeAsync(void *p, void *s) { return drop(p, 1); }
int cudaHostAlloc(void **p, size_t size, unsigned flags) { return reserve(p, size, -1); }
int cudaFreeHost(void *p) { return drop(p, 1); }
int cudaHostRegister(void *p, size_t size, unsigned flags) { return keep(p, size, -1); }
int cudaHostUnregister(void *p) { return drop(p, 0); }
int cudaGetSymbolAddress(void **p, const void *symbol) { return reserve(p, 4096, current); }
int cudaMemGetInfo(size_t *left, size_t *total) { *total = MEMORY; *left = MEMORY - used[current]; return 0; }

int cudaPointerGetAttributes(struct cudaPointerAttributes *a, const void *p) {
    memset(a, 0, sizeof *a);
    Range *r = range_of(p);
    a->type = !r ? cudaMemoryTypeUnregistered : r->device < 0 ? cudaMemoryTypeHost : cudaMemoryTypeDevice;
    a->device = r ? r->device : -2;
    a->devicePointer = (void *)p;
    a->hostPointer = r && r->device < 0 ? (void *)p : NULL;
    return 0;
}

void check_pointer(const char *kernel, const void *p) {
    Range *r = range_of(p);
    if (!r || r->device < 0 || r->device == current) return;
    count(FOREIGN);
    fprintf(stderr, "fake: %s starts on device %d with memory of device %d\n", kernel, current, r->device);
}

int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream) {
    Range *t = range_of(to), *f = range_of(from);
    int down = !t || t->device < 0, up = !f || f->device < 0;
    if (down && up) { memmove(to, from, size); return 0; }
    if (down) { count(DOWN); memset(to, 0, size); }
    if (up) count(UP);
    if (up && !f) count(UP_PAGEABLE);
    return start(down ? "copy to the host" : up ? "copy to the device" : "copy on the device", stream);
}
int cudaMemcpy(void *to, const void *from, size_t size, int kind) {
    cudaMemcpyAsync(to, from, size, kind, NULL);
    return wait(fake_counters[STARTS]);
}
int cudaMemcpyPeerAsync(void *to, int a, const void *from, int b, size_t size, void *stream) {
    return start("copy between devices", stream);
}
int cudaMemsetAsync(void *p, int value, size_t size, void *stream) { return start("memset", stream); }
int cudaMemset(void *p, int value, size_t size) { return start("memset", NULL); }

/* ---- streams, events and graphs ---- */
typedef struct { long queued; struct timespec at; Graph *capture; } Event;

static int new_stream(Stream **s) { *s = handle(); (*s)->device = current; return 0; }
int cudaStreamCreate(Stream **s) { return new_stream(s); }
int cudaStreamCreateWithFlags(Stream **s, unsigned flags) { return new_stream(s); }
int cudaStreamCreateWithPriority(Stream **s, unsigned flags, int priority) { return new_stream(s); }
int cudaStreamGetPriority(void *s, int *priority) { *priority = 0; return 0; }
int cudaStreamSynchronize(void *s) { return wait(fake_counters[STARTS]); }
int cudaDeviceSynchronize(void) { return wait(fake_counters[STARTS]); }

static Graph *capture_of(Stream *s) { return (uintptr_t)s > 2 ? s->capture : NULL; }
int cudaEventCreate(Event **e) { *e = handle(); return 0; }
int cudaEventCreateWithFlags(Event **e, unsigned flags) { *e = handle(); return 0; }
int cudaEventDestroy(Event *e) { free(e); return 0; }
int cudaEventRecord(Event *e, Stream *s) {
    clock_gettime(CLOCK_MONOTONIC, &e->at);
    e->queued = fake_counters[STARTS];
    e->capture = capture_of(s);
    return 0;
}
int cudaEventRecordWithFlags(Event *e, Stream *s, unsigned flags) { return cudaEventRecord(e, s); }
int cudaEventSynchronize(Event *e) { return wait(e->queued); }
int fake_event_asked(Event *e) { return wait(e->queued); } /* for a program that asks an event until it is done */
int cudaStreamWaitEvent(Stream *s, Event *e, unsigned flags) {
    if (e->capture && (uintptr_t)s > 2) s->capture = e->capture;
    return 0;
}
int cudaEventElapsedTime(float *ms, Event *a, Event *b) { /* of the host: the device takes none */
    *ms = (b->at.tv_sec - a->at.tv_sec) * 1e3f + (b->at.tv_nsec - a->at.tv_nsec) * 1e-6f;
    return 0;
}

int cudaStreamBeginCapture(Stream *s, int mode) { s->capture = handle(); capturing++; return 0; }
int cudaStreamEndCapture(Stream *s, Graph **g) { *g = s->capture; s->capture = NULL; capturing--; return 0; }
int cudaStreamIsCapturing(Stream *s, int *status) { *status = capture_of(s) != NULL; return 0; }
int cudaStreamGetCaptureInfo(Stream *s, int *status, unsigned long long *id, Graph **g, void *a, void *b, size_t *n) {
    Graph *graph = capture_of(s);
    *status = graph != NULL;
    if (id) *id = (uintptr_t)graph;
    if (g) *g = graph;
    if (n) *n = 0;
    return 0;
}
int cudaGraphInstantiateWithFlags(Graph **made, Graph *g, unsigned long long flags) { *made = g; return 0; }
int cudaGraphGetNodes(Graph *g, void *nodes, size_t *n) { *n = g->nodes; return 0; }
int cudaGraphLaunch(Graph *g, void *stream) { count(GRAPHS); return start("graph", stream); }
