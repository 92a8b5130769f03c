/* A disk that can lose power: preloaded into a process, it writes down every change below one folder, with what
 * was there before, and every sync that succeeded. Whoever reads that can undo whatever was not synced.
 *
 * POWERCUT_ROOT    the folder
 * POWERCUT_LOG     the file that changes are written to, outside of it
 * POWERCUT_SAVED   a folder on the same file system: what is removed or replaced keeps a name there
 * POWERCUT_AT      the process kills itself right before the change or sync with this number
 * POWERCUT_LIES    set: a sync does nothing and says that it did
 * POWERCUT_FAILS   while there is a file of this name every change fails with the error whose number it holds,
 *                  and syncs too if that is EIO
 *
 * What is seen: the functions of the C library that Rust's standard library calls. Not seen: system calls that a
 * program makes itself. A record is the struct below and two byte strings. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct record {
    uint64_t what;   /* W write, T truncate, C create, D mkdir, R rename, U unlink, L link, X rmdir, 
                      * B begin of a sync, S its end, P begin of a process */
    uint64_t inode;  /* of the file; of B, S also of a folder */
    uint64_t folder; /* inode of the folder whose names change */
    uint64_t offset; /* W: where. T: the new length. B, S: the number of the sync */
    uint64_t length; /* W, T: the former length. R, U: 1 + the number of what is saved, or 0 */
    uint32_t first;  /* W, T: bytes that were there. Else a path */
    uint32_t second; /* W: bytes written. R, L: the other path */
};

static const char *root, *saved, *fails;
static size_t root_length;
static int journal = -1, lies;
static long at, done, syncs, saves;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    const char *log = getenv("POWERCUT_LOG"), *when = getenv("POWERCUT_AT");
    root = getenv("POWERCUT_ROOT");
    saved = getenv("POWERCUT_SAVED");
    fails = getenv("POWERCUT_FAILS");
    if (root == NULL || log == NULL || saved == NULL) return;
    root_length = strlen(root);
    at = when ? atol(when) : 0;
    lies = getenv("POWERCUT_LIES") != NULL;
    journal = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    struct stat stat;
    if (journal >= 0 && fstat(journal, &stat) == 0) syncs = saves = stat.st_size; /* no number twice */
    struct record record = {'P', (uint64_t)getpid(), 0, 0, 0, 0, 0};
    syscall(SYS_write, journal, &record, sizeof record);
}

static int is_below(const char *path) {
    return journal >= 0 && strncmp(path, root, root_length) == 0 && (path[root_length] == '/' || path[root_length] == 0);
}

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return 1;
}

static int is_ours(int fd) {
    char path[PATH_MAX];
    return journal >= 0 && fd != journal && path_of(fd, path) && is_below(path);
}

/* Whether the disk refuses this: then errno says why. */
static int refused(int is_sync) {
    int file = fails ? (int)syscall(SYS_openat, AT_FDCWD, fails, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return 0;
    char text[16] = {0};
    ssize_t got = syscall(SYS_read, file, text, sizeof text - 1);
    syscall(SYS_close, file);
    int why = got > 0 ? atoi(text) : 0;
    if (why == 0 || (is_sync && why != EIO)) return 0;
    errno = why;
    return 1;
}

static void now(void) {
    if (++done == at) syscall(SYS_kill, getpid(), SIGKILL);
}

static void tell(struct record record, const void *first, const void *second) {
    struct iovec parts[3] = {{&record, sizeof record}, {(void *)first, record.first}, {(void *)second, record.second}};
    syscall(SYS_writev, journal, parts, 3);
}

static uint64_t inode_at(const char *path) {
    struct stat stat;
    return fstatat(AT_FDCWD, path, &stat, AT_SYMLINK_NOFOLLOW) == 0 ? stat.st_ino : 0;
}

static uint64_t folder_of(const char *path) {
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash == NULL) return 0;
    *slash = 0;
    return inode_at(folder);
}

static void *before(int fd, uint64_t offset, uint64_t length, uint32_t *have) {
    void *bytes = malloc(length ? length : 1);
    ssize_t got = bytes ? (ssize_t)syscall(SYS_pread64, fd, bytes, length, offset) : 0;
    *have = got > 0 ? (uint32_t)got : 0;
    return bytes;
}

static uint64_t save(const char *path) {
    char name[PATH_MAX];
    snprintf(name, sizeof name, "%s/%ld", saved, ++saves);
    return syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, name, 0) == 0 ? 1 + (uint64_t)saves : 0;
}

/* -- contents ------------------------------------------------------------------------------------------------- */

static void writing(int fd, uint64_t offset, const void *bytes, size_t length) {
    struct stat stat;
    if (fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode)) return;
    struct record record = {'W', stat.st_ino, 0, offset, (uint64_t)stat.st_size, 0, (uint32_t)length};
    void *was = before(fd, offset, length, &record.first);
    now();
    tell(record, was, bytes);
    free(was);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    if (!is_ours(fd)) return REAL(pwrite64)(fd, bytes, length, offset);
    if (refused(0)) return -1;
    pthread_mutex_lock(&turn);
    writing(fd, (uint64_t)offset, bytes, length);
    ssize_t wrote = REAL(pwrite64)(fd, bytes, length, offset);
    pthread_mutex_unlock(&turn);
    return wrote;
}

static uint64_t place(int fd) {
    if (fcntl(fd, F_GETFL) & O_APPEND) return (uint64_t)lseek(fd, 0, SEEK_END);
    return (uint64_t)lseek(fd, 0, SEEK_CUR);
}

ssize_t write(int fd, const void *bytes, size_t length) {
    if (!is_ours(fd)) return REAL(write)(fd, bytes, length);
    if (refused(0)) return -1;
    pthread_mutex_lock(&turn);
    writing(fd, place(fd), bytes, length);
    ssize_t wrote = REAL(write)(fd, bytes, length);
    pthread_mutex_unlock(&turn);
    return wrote;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (!is_ours(fd)) return REAL(writev)(fd, parts, count);
    ssize_t wrote = 0;
    for (int i = 0; i < count; i++) { /* a writer may take less than all that it is given */
        ssize_t some = write(fd, parts[i].iov_base, parts[i].iov_len);
        if (some < 0) return wrote ? wrote : some;
        wrote += some;
        if ((size_t)some < parts[i].iov_len) break;
    }
    return wrote;
}

static void truncating(int fd, uint64_t length) {
    struct stat stat;
    if (fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode)) return;
    struct record record = {'T', stat.st_ino, 0, length, (uint64_t)stat.st_size, 0, 0};
    uint64_t cut = (uint64_t)stat.st_size > length ? (uint64_t)stat.st_size - length : 0;
    void *was = before(fd, length, cut, &record.first);
    now();
    tell(record, was, NULL);
    free(was);
}

int ftruncate64(int fd, off64_t length) {
    if (!is_ours(fd)) return REAL(ftruncate64)(fd, length);
    if (refused(0)) return -1;
    pthread_mutex_lock(&turn);
    truncating(fd, (uint64_t)length);
    int failed = REAL(ftruncate64)(fd, length);
    pthread_mutex_unlock(&turn);
    return failed;
}

static int synced(int fd, int (*sync)(int)) {
    struct stat stat;
    if (!is_ours(fd) || fstat(fd, &stat) != 0) return sync(fd);
    if (refused(1)) return -1;
    pthread_mutex_lock(&turn);
    now();
    struct record record = {'B', stat.st_ino, 0, (uint64_t)++syncs, 0, 0, 0};
    if (!lies) tell(record, NULL, NULL);
    pthread_mutex_unlock(&turn);
    if (lies) return 0;
    int failed = sync(fd);
    if (failed == 0) {
        record.what = 'S';
        tell(record, NULL, NULL);
    }
    return failed;
}

int fsync(int fd) { return synced(fd, REAL(fsync)); }
int fdatasync(int fd) { return synced(fd, REAL(fdatasync)); }

/* -- names ---------------------------------------------------------------------------------------------------- */

/* Told before it is done: what was told and did not happen is easily seen. */
static struct record naming(char what, const char *path, const char *other) {
    struct record record = {(uint64_t)what, inode_at(path), folder_of(other ? other : path), 0, 0, (uint32_t)strlen(path), 0};
    if (other) record.second = (uint32_t)strlen(other);
    return record;
}

static int opened(const char *path, int flags, mode_t mode) {
    int makes = (flags & O_CREAT) != 0, empties = (flags & O_TRUNC) != 0;
    if (!(makes || empties) || !is_below(path)) return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    if (refused(0)) return -1;
    pthread_mutex_lock(&turn);
    int is_new = inode_at(path) == 0;
    if (empties && !is_new) {
        int there = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC, 0);
        if (there >= 0) {
            truncating(there, 0);
            close(there);
        }
    }
    if (is_new) {
        now();
        tell(naming('C', path, NULL), path, NULL);
    }
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    pthread_mutex_unlock(&turn);
    return fd;
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    return opened(path, flags | O_LARGEFILE, mode);
}

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    return opened(path, flags, mode);
}

int mkdir(const char *path, mode_t mode) {
    if (!is_below(path)) return REAL(mkdir)(path, mode);
    if (refused(0)) return -1;
    pthread_mutex_lock(&turn);
    now();
    if (inode_at(path) == 0) tell(naming('D', path, NULL), path, NULL);
    int failed = REAL(mkdir)(path, mode);
    pthread_mutex_unlock(&turn);
    return failed;
}

int rename(const char *from, const char *to) {
    if (!is_below(from) || !is_below(to)) return REAL(rename)(from, to);
    if (refused(0)) return -1;
    pthread_mutex_lock(&turn);
    now();
    struct record record = naming('R', from, to);
    record.length = save(to);
    if (record.inode) tell(record, from, to);
    int failed = REAL(rename)(from, to);
    pthread_mutex_unlock(&turn);
    return failed;
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    if (!is_below(from) || !is_below(to)) return REAL(linkat)(from_folder, from, to_folder, to, flags);
    if (refused(0)) return -1;
    pthread_mutex_lock(&turn);
    now();
    if (inode_at(to) == 0) tell(naming('L', from, to), from, to);
    int failed = REAL(linkat)(from_folder, from, to_folder, to, flags);
    pthread_mutex_unlock(&turn);
    return failed;
}

int unlink(const char *path) {
    if (!is_below(path)) return REAL(unlink)(path);
    if (refused(0)) return -1;
    pthread_mutex_lock(&turn);
    now();
    struct record record = naming('U', path, NULL);
    record.length = save(path);
    if (record.inode) tell(record, path, NULL);
    int failed = REAL(unlink)(path);
    pthread_mutex_unlock(&turn);
    return failed;
}

int rmdir(const char *path) {
    if (!is_below(path)) return REAL(rmdir)(path);
    if (refused(0)) return -1;
    pthread_mutex_lock(&turn);
    now();
    tell(naming('X', path, NULL), path, NULL);
    int failed = REAL(rmdir)(path);
    pthread_mutex_unlock(&turn);
    return failed;
}
