/* Calls of the system that fail or are cut short when they are told to. Loaded by LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static int armed, calls, fail_at, cause, cut_at, most;

/* The call of number `fail` fails by `error`; that of number `cut` writes `size` bytes at most, and
   each call does where `cut` is 0. */
void shim_arm(int fail, int error, int cut, int size) {
    calls = 0, fail_at = fail, cause = error, cut_at = cut, most = size, armed = 1;
}

/* How many calls there were since. */
int shim_calls(void) {
    armed = 0;
    return calls;
}

static int fails(void) {
    if (armed && ++calls == fail_at) {
        errno = cause;
        return 1;
    }
    return 0;
}

ssize_t write(int file, const void *bytes, size_t size) {
    if (fails()) return -1;
    if (armed && most && size > (size_t)most && (!cut_at || calls == cut_at)) size = most;
    return syscall(SYS_write, file, bytes, size);
}

int fsync(int file) { return fails() ? -1 : (int)syscall(SYS_fsync, file); }

int rename(const char *from, const char *to) {
    static int (*real)(const char *, const char *);
    if (!real) real = (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
    return fails() ? -1 : real(from, to);
}

int mkdir(const char *path, mode_t mode) {
    static int (*real)(const char *, mode_t);
    if (!real) real = (int (*)(const char *, mode_t))dlsym(RTLD_NEXT, "mkdir");
    return fails() ? -1 : real(path, mode);
}
