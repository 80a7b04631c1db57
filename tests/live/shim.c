/* Preloaded into a daemon: its disk and its clock do what files say, which may change while it runs.
 *   SHIM_DISK   names a file: "eio" in it and fsync fails, "full" and nothing more can be written to a file
 *   SHIM_CLOCK  names a file with seconds to add to the wall clock; the monotonic clocks are left alone
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int said(const char *which, char *text, int size) {
    const char *path = getenv(which);
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    int count = file < 0 ? 0 : (int)read(file, text, size - 1);
    if (file >= 0) close(file);
    text[count > 0 ? count : 0] = 0;
    return count > 0;
}

static int is(const char *fault) {
    char text[16];
    return said("SHIM_DISK", text, sizeof text) && !strncmp(text, fault, strlen(fault));
}

static int has_no_room(int fd) {
    struct stat found;
    return !fstat(fd, &found) && S_ISREG(found.st_mode) && is("full");
}

int fsync(int fd) {
    if (is("eio")) return errno = EIO, -1;
    return NEXT(fsync)(fd);
}

int fdatasync(int fd) {
    if (is("eio")) return errno = EIO, -1;
    return NEXT(fdatasync)(fd);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    if (has_no_room(fd)) return errno = ENOSPC, -1;
    return NEXT(write)(fd, bytes, count);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    if (has_no_room(fd)) return errno = ENOSPC, -1;
    return NEXT(pwrite64)(fd, bytes, count, at);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (has_no_room(fd)) return errno = ENOSPC, -1;
    return NEXT(writev)(fd, parts, count);
}

static long offset(void) {
    char text[32];
    return said("SHIM_CLOCK", text, sizeof text) ? atol(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = NEXT(clock_gettime)(clock, now);
    if (!failed && clock == CLOCK_REALTIME) now->tv_sec += offset();
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int failed = NEXT(gettimeofday)(now, zone);
    if (!failed) now->tv_sec += offset();
    return failed;
}

time_t time(time_t *where) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (where) *where = now.tv_sec;
    return now.tv_sec;
}
