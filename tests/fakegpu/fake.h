/* What the two halves of the fake share. */
#include <stddef.h>

typedef struct { long nodes; } Graph;                   /* starts that were captured */
typedef struct { int device; Graph *capture; } Stream;  /* NULL is the default stream of every device */

enum { STARTS, GRAPHS, UP, UP_PAGEABLE, DOWN, WAITS, IDLE_WAITS, FOREIGN, CAPTURED_WAITS, COUNTERS };
extern long fake_counters[COUNTERS];

#pragma GCC visibility push(hidden)                    /* these names are no other library's business */
int devices(void);
int current_device(void);
int attribute(int which);
void *handle(void);
void count(int which);
int start(const char *name, void *stream);              /* the device gets something to do; 0 */
int on_handle(const char *name, void **h);                /* the same on the stream of a cuBLAS or cuDNN handle */
void check_pointer(const char *kernel, const void *p);  /* of this device, or FOREIGN */
#pragma GCC visibility pop
