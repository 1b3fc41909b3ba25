/* load -- the client side of the bench: keep-alive connections against one subject, one thread, one epoll loop.
 *
 *   load --port P --body FILE --bench "json 1024" [--path /v1/chat/completions] [--connections N]
 *        (--seconds S | --count N) [--warmup S] [--rate R] [--split] [--hold]
 *        [--step PORT] [--expect-bytes N] [--expect-events N]
 *
 * Without --rate the loop is closed: each connection asks again as soon as it was answered, for the most that the
 * subject can do. With --rate calls leave on a fixed schedule whatever the answers do, so a slow answer delays no
 * other and cannot hide (a call that finds no free connection counts from the instant it was due).
 * --split sends a request's head and its body by two writes, as common Python clients do. --hold opens N streams,
 * prints {"open": N} when each has seen its first event, and holds them until its standard input ends.
 *
 * --step tells the upstream (datagrams to its port) which streams' events have arrived: with `sse COUNT -1` the next
 * one leaves only then. A loop turn's news goes in one datagram.
 *
 * Each answer is checked: status 200, framing, length or number of events. What fails is counted by kind and is
 * never part of a latency. One JSON object on standard output; times in milliseconds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_MAX = 32 * 1024, READ_SIZE = 256 * 1024, EVENTS = 512, AT_ONCE = 64 };
enum phase { CLOSED, CONNECTING, IDLE, HEAD, BODY_LENGTH, BODY_CHUNKED };
enum chunk_state { SIZE_LINE, DATA, DATA_END, TRAILER };
enum error { CONNECT, BROKEN, STATUS, LENGTH, MALFORMED, UNFINISHED, ERRORS };
static const char *const ERROR_NAMES[ERRORS] = {"connect", "broken", "status", "length", "malformed", "unfinished"};

struct samples { uint32_t *us10; size_t len, cap; };    /* tenths of a microsecond */

struct conn {
    int fd;
    enum phase phase;
    enum chunk_state chunk;
    bool writable_wanted, close_after, bad, used;
    size_t sent;                     /* of head + body of the request under way */
    int64_t since_ns;
    char *head;
    size_t head_len;
    int64_t left;                    /* of the body, or of its present chunk */
    int64_t got;                     /* bytes of the body */
    size_t line;
    size_t match;                    /* how much of STAMP the last bytes are, then digits */
    int64_t number;                  /* the instant in the last stamp, then */
    uint32_t stream;                 /* the number of its stream */
    long events;
};

static const char STAMP[] = "\"stamp\":\"";
enum { STAMP_LEN = sizeof STAMP - 1, INSTANT = 19, STREAM = 5 };

static struct {
    int port, connections, step;
    double seconds, warmup, rate;
    long count;
    bool split, hold;
    long expect_bytes, expect_events;
    const char *body_file, *path, *bench;
} opt = {.connections = 32, .seconds = 2, .path = "/v1/chat/completions", .bench = "json 1024", .expect_bytes = -1, .expect_events = -1};

static struct conn *conns;
static int *idle, idle_count, started, open_streams;
static char *request;
static size_t request_head, request_len;
static int epoll_fd, timer_fd = -1;
static int64_t start_ns, timed_ns, stop_ns, next_due_ns, done_ns;
static long calls, asked, timed, errors[ERRORS], reads, read_events, late;
static struct samples latency, to_first, first, between;
static uint32_t news[1024];
static size_t news_count;
static int step_fd = -1;
static char scratch[READ_SIZE];
static bool over;

static void die(const char *what) { perror(what); exit(1); }

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- what is measured ---- */

static void note(struct samples *s, int64_t ns) {
    if (s->len == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 65536;
        if (!(s->us10 = realloc(s->us10, s->cap * sizeof *s->us10))) die("realloc");
    }
    s->us10[s->len++] = ns <= 0 ? 0 : ns / 100 > UINT32_MAX ? UINT32_MAX : (uint32_t)(ns / 100);
}

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void print_samples(const char *name, struct samples *s) {
    if (!s->len) { printf(", \"%s\": null", name); return; }
    qsort(s->us10, s->len, sizeof *s->us10, by_size);
    printf(", \"%s\": {\"n\": %zu", name, s->len);
    static const struct { const char *name; double at; } points[] = {{"p50", .5}, {"p90", .9}, {"p99", .99}, {"max", 1}};
    for (size_t i = 0; i < 4; i++) {
        size_t at = (size_t)(points[i].at * (double)s->len);
        printf(", \"%s\": %.4f", points[i].name, s->us10[at < s->len ? at : s->len - 1] / 1e4);
    }
    printf("}");
}

static void print_result(void) {
    double wall = (double)(done_ns - start_ns) / 1e9, window = (double)((done_ns < stop_ns ? done_ns : stop_ns) - timed_ns) / 1e9;
    long bad = 0;
    for (int i = 0; i < ERRORS; i++) bad += errors[i];
    printf("{\"calls\": %ld, \"timed\": %ld, \"wall_s\": %.4f, \"rate\": %.1f, \"late\": %ld, \"error_count\": %ld, \"errors\": {",
           calls, timed, wall, window > 0 ? (double)timed / window : 0, late, bad);
    for (int i = 0, shown = 0; i < ERRORS; i++)
        if (errors[i]) printf("%s\"%s\": %ld", shown++ ? ", " : "", ERROR_NAMES[i], errors[i]);
    printf("}, \"events_per_read\": %.3f", reads ? (double)read_events / (double)reads : 0);
    print_samples("latency_ms", &latency);
    print_samples("to_first_ms", &to_first);
    print_samples("first_ms", &first);
    print_samples("chunk_ms", &between);
    printf("}\n");
    fflush(stdout);
}

/* ---- one connection ---- */

static void begin(struct conn *c, int64_t since);
static void write_more(struct conn *c);

static void watch(struct conn *c, bool writable) {
    if (c->writable_wanted == writable) return;
    c->writable_wanted = writable;
    struct epoll_event e = {.events = EPOLLIN | (writable ? (uint32_t)EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
}

static void shut(struct conn *c) {
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    for (int i = 0; c->phase == IDLE && i < idle_count; i++)
        if (idle[i] == c - conns) { idle[i] = idle[--idle_count]; break; }
    c->phase = CLOSED;
}

static void open_conn(struct conn *c) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->phase = CONNECTING;
    c->writable_wanted = true;
    c->used = false;
    if (connect(c->fd, (struct sockaddr *)&a, sizeof a) && errno != EINPROGRESS) { errors[CONNECT]++; shut(c); return; }
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &e);
}

static bool may_ask(void) { return !over && (!opt.count || asked < opt.count); }

static void park(struct conn *c) { c->phase = IDLE; idle[idle_count++] = (int)(c - conns); }

/* Schedules what is due on free connections; the clock of a call starts here, or when it was due if it had to wait. */
static void send_due(bool waited) {
    int64_t now = now_ns(), step = (int64_t)(1e9 / opt.rate);
    while (may_ask() && next_due_ns <= now && idle_count) {
        begin(&conns[idle[--idle_count]], waited || now - next_due_ns > step ? next_due_ns : now_ns());
        if (waited) late++;
        next_due_ns += step;
    }
}

static void next(struct conn *c) {
    if (!may_ask()) { if (!opt.rate) shut(c); else park(c); return; }
    if (!opt.rate) { begin(c, now_ns()); return; }
    park(c);
    if (next_due_ns <= now_ns()) send_due(true);
}

static void fail(struct conn *c, enum error kind) {
    errors[kind]++;
    shut(c);
    if (!over && !opt.hold) open_conn(c);
}

static void begin(struct conn *c, int64_t since) {
    c->phase = HEAD;
    c->sent = c->head_len = c->match = c->line = 0;
    c->got = c->left = c->events = 0;
    c->bad = c->close_after = false;
    c->since_ns = since;
    asked++;
    write_more(c);
}

static void write_more(struct conn *c) {
    while (c->sent < request_len) {
        size_t until = opt.split && c->sent < request_head ? request_head : request_len;
        ssize_t n = send(c->fd, request + c->sent, until - c->sent, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EAGAIN) watch(c, true);
            return;                  /* anything else: the read side will see it, after an early answer if there is one */
        }
        c->sent += (size_t)n;
    }
    watch(c, false);
}

static void finish(struct conn *c) {
    int64_t now = now_ns();
    bool wrong = (opt.expect_bytes >= 0 && c->got != opt.expect_bytes) || (opt.expect_events >= 0 && c->events != opt.expect_events);
    if (c->bad) errors[STATUS]++;
    else if (wrong) errors[LENGTH]++;
    else {
        calls++;
        if (c->since_ns >= timed_ns && now <= stop_ns) { timed++; note(&latency, now - c->since_ns); }
    }
    c->used = true;
    if (c->close_after || c->sent < request_len) { shut(c); if (may_ask()) open_conn(c); return; }
    next(c);
}

static void tell(void) {
    if (news_count && send(step_fd, news, news_count * sizeof *news, 0) < 0) die("step");
    news_count = 0;
}

static void see_event(struct conn *c, int64_t now) {
    read_events++;
    if (c->since_ns >= timed_ns) note(c->events ? &between : &first, now - c->number);
    if (!c->events && c->since_ns >= timed_ns) note(&to_first, now - c->since_ns);
    if (opt.step && c->events + 1 < opt.expect_events) {           /* after the last one nothing more may come */
        news[news_count++] = c->stream;
        if (news_count == sizeof news / sizeof *news) tell();
    }
    if (!c->events++ && opt.hold && ++open_streams == opt.connections) { printf("{\"open\": %d}\n", open_streams); fflush(stdout); }
}

/* Stamps may be split over reads anywhere: the match goes byte by byte and is kept in the connection. */
static void scan(struct conn *c, const char *data, size_t len, int64_t now) {
    for (const char *end = data + len; data < end; data++) {
        if (c->match >= STAMP_LEN) {
            if (c->match < STAMP_LEN + INSTANT) c->number = c->number * 10 + (*data - '0');
            else c->stream = c->stream * 10 + (uint32_t)(*data - '0');
            if (++c->match == STAMP_LEN + INSTANT + STREAM) { see_event(c, now); c->match = 0; }
        } else if (*data == STAMP[c->match]) {
            if (++c->match == STAMP_LEN) c->number = c->stream = 0;
        } else c->match = *data == STAMP[0];
    }
}

/* ---- an answer ---- */

static bool read_head(struct conn *c, const char *head, size_t len) {
    if (len < 16 || memcmp(head, "HTTP/1.", 7)) return false;
    long status = strtol(head + 9, NULL, 10);
    if (status == 100) { c->phase = HEAD; return true; }
    c->bad = status != 200;
    c->left = -1;
    bool chunked = false;
    for (const char *line = head, *end = head + len; line < end - 2; line = (const char *)memchr(line, '\n', (size_t)(end - line)) + 1) {
        if ((*line | 0x20) == 'c' && !strncasecmp(line, "content-length:", 15)) c->left = strtoll(line + 15, NULL, 10);
        else if ((*line | 0x20) == 't' && !strncasecmp(line, "transfer-encoding:", 18)) chunked = true;
        else if ((*line | 0x20) == 'c' && !strncasecmp(line, "connection: close", 17)) c->close_after = true;
    }
    if (chunked) { c->phase = BODY_CHUNKED; c->chunk = SIZE_LINE; c->left = 0; }
    else c->phase = BODY_LENGTH;
    if (started < opt.connections) open_conn(&conns[started++]);
    return chunked || c->left >= 0;  /* a body that only a close ends cannot be told from a cut one */
}

/* Bytes that belong to the chunked body; `*done` at its end, -1 when the framing is broken. */
static ssize_t take_chunked(struct conn *c, const char *data, size_t len, int64_t now, bool *done) {
    size_t at = 0;
    while (at < len && !*done) {
        if (c->chunk == DATA) {
            size_t n = len - at < (size_t)c->left ? len - at : (size_t)c->left;
            scan(c, data + at, n, now);
            c->got += (int64_t)n;
            at += n;
            if (!(c->left -= (int64_t)n)) c->chunk = DATA_END;
            continue;
        }
        char b = data[at++];
        if (c->chunk == SIZE_LINE && b != '\n') {
            int digit = b >= '0' && b <= '9' ? b - '0' : (b | 0x20) >= 'a' && (b | 0x20) <= 'f' ? (b | 0x20) - 'a' + 10 : -1;
            if (digit >= 0 && !c->line) c->left = c->left * 16 + digit;
            else if (b == '\r' || b == ';' || c->line) c->line = 1;
            else return -1;
        } else if (b == '\n') {
            if (c->chunk == SIZE_LINE) c->chunk = c->left ? DATA : TRAILER;
            else if (c->chunk == DATA_END) { c->chunk = SIZE_LINE; c->left = 0; }
            else *done = c->line == 0;
            c->line = 0;
        } else if (b != '\r') {
            if (c->chunk == DATA_END) return -1;
            c->line++;
        }
    }
    return (ssize_t)at;
}

static void take(struct conn *c, char *data, size_t len, int64_t now) {
    while (len && c->fd >= 0) {
        if (c->phase == IDLE) { errors[MALFORMED]++; shut(c); open_conn(c); return; }      /* bytes that nobody asked for */
        if (c->phase == HEAD) {
            if (c->head_len + len > HEAD_MAX && !memmem(data, len, "\r\n\r\n", 4)) { fail(c, MALFORMED); return; }
            size_t had = c->head_len, n = len < HEAD_MAX - had ? len : HEAD_MAX - had;
            memcpy(c->head + had, data, n);
            const char *end = memmem(c->head, had + n, "\r\n\r\n", 4);
            if (!end) { c->head_len += n; return; }
            size_t head = (size_t)(end - c->head) + 4;
            c->head_len = 0;
            if (!read_head(c, c->head, head)) { fail(c, MALFORMED); return; }
            data += head - had; len -= head - had;
            if (c->phase == HEAD) continue;
        }
        bool done = false;
        if (c->phase == BODY_CHUNKED) {
            ssize_t n = take_chunked(c, data, len, now, &done);
            if (n < 0) { fail(c, MALFORMED); return; }
            data += n; len -= (size_t)n;
        } else {
            size_t n = len < (size_t)c->left ? len : (size_t)c->left;
            c->got += (int64_t)n;
            data += n; len -= n;
            done = !(c->left -= (int64_t)n);
        }
        if (done) {
            if (len) { fail(c, MALFORMED); return; }
            finish(c);
            return;
        }
    }
}

static void on_readable(struct conn *c) {
    ssize_t n = recv(c->fd, scratch, sizeof scratch, 0);
    if (n > 0) {
        long before = read_events;
        take(c, scratch, (size_t)n, now_ns());
        reads += read_events > before;
    } else if (n == 0 || errno != EAGAIN) {
        if (c->phase == IDLE) { shut(c); if (!over) open_conn(c); }        /* a server may end a kept connection */
        else fail(c, BROKEN);
    }
}

static void on_writable(struct conn *c) {
    if (c->phase != CONNECTING) { write_more(c); return; }
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) { errors[CONNECT]++; shut(c); return; }
    watch(c, false);
    next(c);
}

/* ---- the run ---- */

static void make_request(void) {
    FILE *f = opt.body_file ? fopen(opt.body_file, "rb") : NULL;
    struct stat st = {0};
    if (opt.body_file && (!f || fstat(fileno(f), &st))) die(opt.body_file);
    size_t size = (size_t)st.st_size;
    if (!(request = malloc(size + 4096))) die("malloc");
    request_head = (size_t)snprintf(request, 4096,        /* the headers of the official Python SDK */
        "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nAccept: application/json\r\n"
        "Content-Type: application/json\r\nUser-Agent: OpenAI/Python 2.8.0\r\nX-Stainless-Lang: python\r\nX-Stainless-Package-Version: 2.8.0\r\n"
        "X-Stainless-OS: Linux\r\nX-Stainless-Arch: x64\r\nX-Stainless-Runtime: CPython\r\nX-Stainless-Runtime-Version: 3.11.2\r\n"
        "Authorization: Bearer sk-bench-0123456789abcdef0123456789abcdef\r\nX-Stainless-Async: false\r\nx-stainless-retry-count: 0\r\n"
        "x-stainless-read-timeout: 600\r\nx-bench: %s\r\nContent-Length: %zu\r\n\r\n",
        opt.body_file ? "POST" : "GET", opt.path, opt.port, opt.bench, size);
    if (f && fread(request + request_head, 1, size, f) != size) die(opt.body_file);
    if (f) fclose(f);
    request_len = request_head + size;
}

static void read_options(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(name, "--split")) { opt.split = true; continue; }
        if (!strcmp(name, "--hold")) { opt.hold = true; continue; }
        if (!strcmp(name, "--port")) opt.port = atoi(value);
        else if (!strcmp(name, "--connections")) opt.connections = atoi(value);
        else if (!strcmp(name, "--seconds")) opt.seconds = atof(value);
        else if (!strcmp(name, "--warmup")) opt.warmup = atof(value);
        else if (!strcmp(name, "--rate")) opt.rate = atof(value);
        else if (!strcmp(name, "--step")) opt.step = atoi(value);
        else if (!strcmp(name, "--count")) opt.count = atol(value);
        else if (!strcmp(name, "--body")) opt.body_file = value;
        else if (!strcmp(name, "--path")) opt.path = value;
        else if (!strcmp(name, "--bench")) opt.bench = value;
        else if (!strcmp(name, "--expect-bytes")) opt.expect_bytes = atol(value);
        else if (!strcmp(name, "--expect-events")) opt.expect_events = atol(value);
        else { fprintf(stderr, "load: unknown option %s\n", name); exit(2); }
        i++;
    }
    if (!opt.port || opt.connections < 1) { fprintf(stderr, "load: --port and at least one connection are needed\n"); exit(2); }
}

static void start(void) {
    conns = calloc((size_t)opt.connections, sizeof *conns);
    idle = calloc((size_t)opt.connections, sizeof *idle);
    char *heads = malloc((size_t)opt.connections * HEAD_MAX);
    if (!conns || !idle || !heads) die("malloc");
    for (int i = 0; i < opt.connections; i++) { conns[i].fd = -1; conns[i].head = heads + (size_t)i * HEAD_MAX; }
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = &timer_fd};
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &e);
    e.data.ptr = &opt;               /* standard input: whoever started a held run ends it by closing this */
    if (opt.hold) epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &e);
    if (opt.step) {
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)opt.step), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        step_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (step_fd < 0 || connect(step_fd, (struct sockaddr *)&a, sizeof a)) die("step");
    }
    start_ns = now_ns();
    timed_ns = start_ns + (int64_t)(opt.warmup * 1e9);
    stop_ns = opt.hold || opt.count ? INT64_MAX : timed_ns + (int64_t)(opt.seconds * 1e9);
    if (opt.rate) {
        next_due_ns = start_ns + 10000000;           /* the connections are made by then */
        int64_t step = (int64_t)(1e9 / opt.rate);
        struct itimerspec t = {{step / 1000000000, step % 1000000000}, {next_due_ns / 1000000000, next_due_ns % 1000000000}};
        timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &t, NULL);
    }
    /* A rate uses all its connections from the start; streams and closed loops open theirs as others are answered,
     * so that a thousand of them overrun nobody's listen queue. */
    int at_once = opt.rate || opt.connections < AT_ONCE ? opt.connections : AT_ONCE;
    while (started < at_once) open_conn(&conns[started++]);
}

static int busy(void) {
    int n = 0;
    for (int i = 0; i < opt.connections; i++) n += conns[i].phase != CLOSED && conns[i].phase != IDLE;
    return n;
}

int main(int argc, char **argv) {
    read_options(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    prctl(PR_SET_TIMERSLACK, 1);
    make_request();
    start();
    const int64_t grace_ns = 5000000000;
    struct epoll_event events[EVENTS];
    for (bool held = true; held;) {
        int n = epoll_wait(epoll_fd, events, EVENTS, 20);
        int64_t now = now_ns();
        over = over || now >= stop_ns || (opt.count && asked >= opt.count);
        for (int i = 0; i < n; i++) {
            void *who = events[i].data.ptr;
            if (who == &timer_fd) {
                uint64_t fired;
                if (read(timer_fd, &fired, sizeof fired) > 0) send_due(false);
            } else if (who == &opt) held = false;
            else {
                struct conn *c = who;
                if (c->fd >= 0 && events[i].events & EPOLLOUT) on_writable(c);
                if (c->fd >= 0 && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR) && c->phase != CONNECTING) on_readable(c);
            }
        }
        tell();
        if (!opt.hold && (over || (!n && !opt.rate)) && !busy()) break;      /* also when nothing at all could be connected */
        if (over && !opt.count && now > stop_ns + grace_ns) { errors[UNFINISHED] += busy(); break; }
    }
    done_ns = now_ns();
    if (opt.hold || opt.count) stop_ns = done_ns;
    print_result();
    return 0;
}
