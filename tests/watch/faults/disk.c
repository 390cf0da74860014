/* A disk that fails when it is told to: loaded before the C library (LD_PRELOAD), it lets calls for some paths fail.

   GRAMOPHONE_DISK names a file of lines "CALL ERRNO TEXT": while it is there, CALL (open, write, fsync, rename, link,
   unlink, mkdir) fails with ERRNO on every path that holds TEXT, or ends in it when a $ follows. Each time a byte is added to that file's name + ".hits". */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static int meant(const char *path, const char *text)
{
    size_t length = strlen(path), size = strlen(text);
    if (!size || text[size - 1] != '$')
        return strstr(path, text) != NULL;
    return --size <= length && !strncmp(path + length - size, text, size);
}

static int fails(const char *call, const char *path)
{
    const char *rules = getenv("GRAMOPHONE_DISK");
    char text[4096], hits[PATH_MAX], *line, *rest = text;
    int file, number = 0;
    ssize_t size;
    if (!rules || !path)
        return 0;
    file = syscall(SYS_openat, AT_FDCWD, rules, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    size = syscall(SYS_read, file, text, sizeof text - 1);
    syscall(SYS_close, file);
    text[size > 0 ? size : 0] = 0;
    while (!number && (line = strsep(&rest, "\n"))) {
        char what[16], part[256];
        int code;
        if (sscanf(line, "%15s %d %255s", what, &code, part) == 3 && !strcmp(what, call) && meant(path, part))
            number = code;
    }
    if (!number)
        return 0;
    snprintf(hits, sizeof hits, "%s.hits", rules);
    file = syscall(SYS_openat, AT_FDCWD, hits, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (file >= 0) {
        syscall(SYS_write, file, "!", 1);
        syscall(SYS_close, file);
    }
    errno = number;
    return 1;
}

static int fails_at(const char *call, int descriptor)
{
    char link[64], path[PATH_MAX];
    ssize_t size;
    if (!getenv("GRAMOPHONE_DISK"))
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    size = readlink(link, path, sizeof path - 1);
    if (size < 0)
        return 0;
    path[size] = 0;
    return fails(call, path);
}

ssize_t write(int fd, const void *data, size_t size)
{
    REAL(write);
    return fails_at("write", fd) ? -1 : real(fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    REAL(pwrite);
    return fails_at("write", fd) ? -1 : real(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    REAL(pwrite64);
    return fails_at("write", fd) ? -1 : real(fd, data, size, at);
}

ssize_t sendfile(int out, int in, off_t *at, size_t size)
{
    REAL(sendfile);
    return fails_at("write", out) ? -1 : real(out, in, at, size);
}

ssize_t sendfile64(int out, int in, off64_t *at, size_t size)
{
    REAL(sendfile64);
    return fails_at("write", out) ? -1 : real(out, in, at, size);
}

int fsync(int fd)
{
    REAL(fsync);
    return fails_at("fsync", fd) ? -1 : real(fd);
}

int fdatasync(int fd)
{
    REAL(fdatasync);
    return fails_at("fsync", fd) ? -1 : real(fd);
}

int rename(const char *from, const char *to)
{
    REAL(rename);
    return fails("rename", from) || fails("rename", to) ? -1 : real(from, to);
}

int link(const char *from, const char *to)
{
    REAL(link);
    return fails("link", from) || fails("link", to) ? -1 : real(from, to);
}

int linkat(int a, const char *from, int b, const char *to, int flags)
{
    REAL(linkat);
    return fails("link", from) || fails("link", to) ? -1 : real(a, from, b, to, flags);
}

int unlink(const char *path)
{
    REAL(unlink);
    return fails("unlink", path) ? -1 : real(path);
}

int mkdir(const char *path, mode_t mode)
{
    REAL(mkdir);
    return fails("mkdir", path) ? -1 : real(path, mode);
}

int open(const char *path, int flags, ...)
{
    REAL(open);
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    return fails("open", path) ? -1 : real(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    REAL(open64);
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    return fails("open", path) ? -1 : real(path, flags, mode);
}
