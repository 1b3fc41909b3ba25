/* upstream -- the played OpenAI server behind every subject of the bench.
 *
 * One thread, one epoll loop, nothing allocated per call on the plain paths: it has to be far faster than the
 * proxies in front of it, and `python -m bench` prints its CPU beside theirs so that this can be seen.
 *
 *   upstream --port P [--tls-port P --cert FILE --key FILE]
 *
 * A request says in one header what it wants (a header survives every proxy; the path stays a real one, because
 * Chassis decides by it):
 *
 *   x-bench: json SIZE          a chat completion of exactly SIZE bytes
 *   x-bench: sse COUNT [GAP]    COUNT events, then [DONE]; GAP microseconds apart, without GAP as fast as it goes;
 *                               with a GAP of -1 in step: the next one when a datagram to our port names the stream
 *   x-bench: echo               the request's body, byte for byte
 *
 * Every event carries the CLOCK_MONOTONIC instant of its sending (19 digits), so that a client on the same machine
 * can tell how long it was under way, and the number of its stream (5 digits). In step each event crosses the proxy
 * alone; as fast as it goes, a slow proxy finds several in one read and looks cheaper than it is. Build with -DWITH_TLS -lssl -lcrypto for the second listener.
 */
#define _GNU_SOURCE
#include <errno.h>
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
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#ifdef WITH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#endif

enum { HEAD_MAX = 64 * 1024, READ_SIZE = 256 * 1024, EVENTS = 512, CONNS = 16384, CACHED = 16 };
enum phase { HEAD, BODY_LENGTH, BODY_CHUNKED, REPLYING };
enum chunk_state { SIZE_LINE, DATA, DATA_END, TRAILER };
enum want { WANT_JSON, WANT_SSE, WANT_ECHO };

struct bytes { char *data; size_t len, cap; };

struct conn {
    int fd;
    void *ssl;                        /* NULL on the plain port */
    bool writable_wanted, close_after;
    enum phase phase;
    enum want want;
    struct bytes in;                  /* an unfinished head, or what came while we still reply */
    struct bytes body;                /* only for echo */
    struct bytes out;                 /* what the socket did not take */
    size_t out_at;
    uint64_t left;                    /* of the body, or of the present chunk of it */
    enum chunk_state chunk;
    size_t line;                      /* bytes in the present line of chunked framing */
    long size;                        /* of a JSON reply */
    long events_left;
    int64_t gap_ns, due_ns;           /* a gap below 0: in step */
    int place;                        /* index in `streams`, -1 when not streaming */
    struct conn *next_dead;
};

static struct conn *streams[CONNS];   /* whoever has events to send */
static int stream_count, hot_count;   /* hot: no gap and nothing unsent */
static struct conn *in_step[CONNS];   /* by descriptor, which is the number that their events carry */
static int epoll_fd, timer_fd, step_fd, plain_fd = -1, tls_fd = -1;
static char scratch[READ_SIZE];
static unsigned phase_seed;
static struct conn *graveyard;        /* closed in this turn: later events of it may still be in our hands */
#ifdef WITH_TLS
static SSL_CTX *tls_context;
#endif

static void feed(struct conn *c, const char *data, size_t len);

static void die(const char *what) { perror(what); exit(1); }

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void add(struct bytes *b, const char *data, size_t len) {
    if (b->len + len > b->cap) {
        b->cap = (b->len + len) * 2 + 1024;
        if (!(b->data = realloc(b->data, b->cap))) die("realloc");
    }
    memcpy(b->data + b->len, data, len);
    b->len += len;
}

/* ---- what is sent ---- */

static const char REPLY_HEAD[] =      /* as many headers as the real API sends: their number is part of a proxy's work */
    "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nServer: bench\r\nopenai-organization: bench\r\n"
    "openai-processing-ms: 12\r\nopenai-version: 2020-10-01\r\nx-ratelimit-limit-requests: 10000\r\n"
    "x-ratelimit-remaining-requests: 9999\r\nx-ratelimit-reset-requests: 6ms\r\nx-request-id: req_0123456789abcdef\r\n";

static const char EVENT[] =           /* one chunk of the transfer coding; the stamp is written over the zeros */
    "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1767225600,\"model\":\"gpt-4o-mini\","
    "\"stamp\":\"000000000000000000000000\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" token\"},\"logprobs\":null,"
    "\"finish_reason\":null}]}\n\n";
static const char DONE[] =
    "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1767225600,\"model\":\"gpt-4o-mini\","
    "\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

static char event_wire[1024], last_wire[2048];     /* `last` is an event, the finish reason, [DONE] and the end of the body */
static size_t event_len, last_len, stamp_at;

static void prepare_events(void) {
    event_len = (size_t)sprintf(event_wire, "%zx\r\n%s\r\n", sizeof EVENT - 1, EVENT);
    last_len = (size_t)sprintf(last_wire, "%s%zx\r\n%s\r\n0\r\n\r\n", event_wire, sizeof DONE - 1, DONE);
    stamp_at = (size_t)(strstr(event_wire, "00000000000000000") - event_wire);
}

static void digits(char *to, int count, int64_t n) {
    for (; count-- > 0; n /= 10) to[count] = (char)('0' + n % 10);
}

/* A JSON reply of `size` bytes with its head; made once a size. */
static const struct bytes *json_reply(long size) {
    static struct { long size; struct bytes wire; } cache[CACHED];
    static const char before[] = "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1767225600,\"model\":\"gpt-4o-mini\","
                                 "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"";
    static const char after[] = "\"},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":210,"
                                "\"completion_tokens\":150,\"total_tokens\":360}}";
    static const char text[] = "The quick answer is that every part of it was measured twice before it was written down. ";
    long least = (long)(sizeof before + sizeof after);
    if (size < least) size = least;
    int at = 0;
    while (at < CACHED - 1 && cache[at].size && cache[at].size != size) at++;
    if (cache[at].size == size) return &cache[at].wire;
    struct bytes *b = &cache[at].wire;
    char head[128];
    b->len = 0;
    cache[at].size = size;
    add(b, REPLY_HEAD, sizeof REPLY_HEAD - 1);
    add(b, head, (size_t)sprintf(head, "Content-Type: application/json\r\nContent-Length: %ld\r\n\r\n", size));
    add(b, before, sizeof before - 1);
    for (long left = size - (long)(sizeof before + sizeof after - 2); left > 0; left -= (long)sizeof text - 1)
        add(b, text, left < (long)sizeof text - 1 ? (size_t)left : sizeof text - 1);
    add(b, after, sizeof after - 1);
    return b;
}

/* ---- the socket ---- */

static void watch(struct conn *c, bool writable) {
    if (c->writable_wanted == writable) return;
    c->writable_wanted = writable;
    struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP | (writable ? (uint32_t)EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
}

static void leave_streams(struct conn *c) {
    if (c->place < 0) return;
    if (!c->gap_ns && !c->out.len) hot_count--;
    streams[c->place] = streams[--stream_count];
    streams[c->place]->place = c->place;
    c->place = -1;
}

static void drop(struct conn *c) {
    leave_streams(c);
    if (c->fd < CONNS) in_step[c->fd] = NULL;
#ifdef WITH_TLS
    if (c->ssl) SSL_free(c->ssl);
#endif
    close(c->fd);
    free(c->in.data); free(c->body.data); free(c->out.data);
    c->fd = -1;
    c->next_dead = graveyard;
    graveyard = c;
}

/* Bytes written, 0 when the socket is full, -1 when it is dead. */
static ssize_t put(struct conn *c, const char *data, size_t len) {
#ifdef WITH_TLS
    if (c->ssl) {
        int n = SSL_write(c->ssl, data, len > 1 << 30 ? 1 << 30 : (int)len);
        if (n > 0) return n;
        int e = SSL_get_error(c->ssl, n);
        ERR_clear_error();
        return e == SSL_ERROR_WANT_WRITE || e == SSL_ERROR_WANT_READ ? 0 : -1;
    }
#endif
    ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL);
    return n >= 0 ? n : errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
}

static ssize_t get(struct conn *c, char *data, size_t len) {
#ifdef WITH_TLS
    if (c->ssl) {
        int n = SSL_read(c->ssl, data, (int)len);
        if (n > 0) return n;
        int e = SSL_get_error(c->ssl, n);
        ERR_clear_error();
        return e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE ? 0 : -1;
    }
#endif
    ssize_t n = recv(c->fd, data, len, 0);
    return n > 0 ? n : n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? 0 : -1;
}

/* Sends all of it now or keeps the rest; false when the connection is gone. */
static bool say(struct conn *c, const char *data, size_t len) {
    if (!c->out.len) {
        while (len) {
            ssize_t n = put(c, data, len);
            if (n < 0) { drop(c); return false; }
            if (!n) break;
            data += n; len -= (size_t)n;
        }
        if (len && c->place >= 0 && !c->gap_ns) hot_count--;
    }
    if (len) { add(&c->out, data, len); watch(c, true); }
    return true;
}

/* ---- replies ---- */

static void arm_timer(void) {
    int64_t next = INT64_MAX;
    for (int i = 0; i < stream_count; i++)
        if (streams[i]->gap_ns && streams[i]->due_ns < next) next = streams[i]->due_ns;
    struct itimerspec t = {0};
    if (next != INT64_MAX) { t.it_value.tv_sec = next / 1000000000; t.it_value.tv_nsec = next % 1000000000; }
    timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &t, NULL);
}

static void replied(struct conn *c) {
    if (c->close_after) { if (!c->out.len) drop(c); return; }
    c->phase = HEAD;
    if (!c->in.len) return;
    struct bytes held = c->in;        /* what was sent to us meanwhile */
    c->in = (struct bytes){0};
    feed(c, held.data, held.len);
    free(held.data);
}

/* One event of a stream; false when the connection is gone. */
static bool send_event(struct conn *c) {
    bool last = --c->events_left == 0;
    if (last) leave_streams(c);
    char *wire = last ? last_wire : event_wire;
    digits(wire + stamp_at, 19, now_ns());
    digits(wire + stamp_at + 19, 5, c->fd);
    if (!say(c, wire, last ? last_len : event_len)) return false;
    if (last) replied(c);
    return c->fd >= 0;
}

static void start_stream(struct conn *c) {
    static const char head[] = "Content-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
    char wire[sizeof REPLY_HEAD + sizeof head];
    memcpy(wire, REPLY_HEAD, sizeof REPLY_HEAD - 1);
    memcpy(wire + sizeof REPLY_HEAD - 1, head, sizeof head - 1);
    if (!say(c, wire, sizeof REPLY_HEAD - 1 + sizeof head - 1)) return;
    if (stream_count == CONNS || c->fd >= CONNS) { drop(c); return; }
    if (c->gap_ns < 0) { in_step[c->fd] = c; send_event(c); return; }
    c->place = stream_count;
    streams[stream_count++] = c;
    if (!c->gap_ns) { if (!c->out.len) hot_count++; return; }
    /* Streams that were asked for together must not all speak at the same instant, or a burst is measured. */
    c->due_ns = now_ns() + c->gap_ns + (int64_t)(phase_seed++ * 37 % 97) * c->gap_ns / 97;
    arm_timer();
}

static void answer(struct conn *c) {
    c->phase = REPLYING;
    if (c->want == WANT_SSE) { start_stream(c); return; }
    if (c->want == WANT_JSON) {
        const struct bytes *b = json_reply(c->size);
        if (say(c, b->data, b->len)) replied(c);
        return;
    }
    char head[sizeof REPLY_HEAD + 96];
    int n = sprintf(head, "%sContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", REPLY_HEAD, c->body.len);
    if (say(c, head, (size_t)n) && say(c, c->body.data, c->body.len)) { c->body.len = 0; replied(c); }
}

/* ---- requests ---- */

static bool is(const char *line, const char *name, const char **value) {
    size_t n = strlen(name);
    if (strncasecmp(line, name, n)) return false;
    for (line += n; *line == ' '; line++) {}
    *value = line;
    return true;
}

static void read_wish(struct conn *c, const char *wish) {
    char word[8] = "";
    long first = 0, second = 0;
    sscanf(wish, "%7[a-z] %ld %ld", word, &first, &second);
    if (!strcmp(word, "sse")) { c->want = WANT_SSE; c->events_left = first > 0 ? first : 1; c->gap_ns = second * 1000; }
    else if (!strcmp(word, "echo")) c->want = WANT_ECHO;
    else { c->want = WANT_JSON; c->size = first > 0 ? first : 1024; }
}

/* `head` ends with CRLF CRLF and is followed by a NUL or by more bytes; only whole lines are looked at. */
static void read_head(struct conn *c, const char *head, size_t len) {
    const char *value, *end = head + len;
    c->left = 0; c->want = WANT_JSON; c->size = 1024; c->close_after = false;
    bool chunked = false;
    for (const char *line = head; line < end - 2;) {
        switch (*line | 0x20) {       /* four headers matter: their first letters keep the rest cheap */
        case 'c':
            if (is(line, "content-length:", &value)) c->left = strtoull(value, NULL, 10);
            else if (is(line, "connection:", &value)) c->close_after = !strncasecmp(value, "close", 5);
            break;
        case 't': if (is(line, "transfer-encoding:", &value)) chunked = true; break;
        case 'e': if (is(line, "expect:", &value) && !say(c, "HTTP/1.1 100 Continue\r\n\r\n", 25)) return; break;
        case 'x': if (is(line, "x-bench:", &value)) read_wish(c, value); break;
        }
        line = (const char *)memchr(line, '\n', (size_t)(end - line)) + 1;
    }
    c->phase = chunked ? BODY_CHUNKED : BODY_LENGTH;
    c->chunk = SIZE_LINE;
    c->line = 0;
    if (chunked) c->left = 0;
}

/* Bytes of `data` that belong to a chunked body; `*done` when it ended. */
static size_t take_chunked(struct conn *c, const char *data, size_t len, bool *done) {
    size_t at = 0;
    while (at < len && !*done) {
        if (c->chunk == DATA) {
            size_t n = len - at < c->left ? len - at : c->left;
            if (c->want == WANT_ECHO) add(&c->body, data + at, n);
            at += n;
            if (!(c->left -= n)) c->chunk = DATA_END;
            continue;
        }
        char b = data[at++];
        if (c->chunk == SIZE_LINE && b != '\n') {
            int digit = b >= '0' && b <= '9' ? b - '0' : (b | 0x20) >= 'a' && (b | 0x20) <= 'f' ? (b | 0x20) - 'a' + 10 : -1;
            if (digit >= 0 && !c->line) c->left = c->left * 16 + (uint64_t)digit;
            else c->line = 1;         /* CR or an extension: the rest of the line is not the size */
        } else if (c->chunk == SIZE_LINE) {
            c->chunk = c->left ? DATA : TRAILER;
            c->line = 0;
        } else if (b == '\n') {       /* the end of a chunk's data, or of a trailer line */
            if (c->chunk == DATA_END) { c->chunk = SIZE_LINE; c->left = 0; }
            else *done = c->line == 0;
            c->line = 0;
        } else if (b != '\r') c->line++;
    }
    return at;
}

static void feed(struct conn *c, const char *data, size_t len) {
    while (len && c->fd >= 0) {
        if (c->phase == REPLYING) { add(&c->in, data, len); return; }
        if (c->phase == HEAD) {
            const char *from = data;
            size_t had = c->in.len, have = len;
            if (had) { add(&c->in, data, len); from = c->in.data; have = c->in.len; }
            const char *end = memmem(from, have, "\r\n\r\n", 4);
            if (!end) {
                if (!had) add(&c->in, data, len);
                if (c->in.len > HEAD_MAX) drop(c);
                return;
            }
            size_t head = (size_t)(end - from) + 4;
            read_head(c, from, head);
            if (c->fd < 0) return;
            c->in.len = 0;
            data += head - had; len -= head - had;
        }
        bool done = false;
        size_t n;
        if (c->phase == BODY_CHUNKED) n = take_chunked(c, data, len, &done);
        else {
            n = len < c->left ? len : c->left;
            if (n && c->want == WANT_ECHO) add(&c->body, data, n);
            done = !(c->left -= n);
        }
        data += n; len -= n;
        if (done) answer(c);
    }
}

/* ---- the loop ---- */

static int listen_on(int port, int type) {
    int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) || (type == SOCK_STREAM && listen(fd, 4096))) die("listen");
    return fd;
}

static void accept_all(int listener) {
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct conn *c = calloc(1, sizeof *c);
        if (!c) die("calloc");
        c->fd = fd; c->place = -1;
#ifdef WITH_TLS
        if (listener == tls_fd) {
            c->ssl = SSL_new(tls_context);
            SSL_set_fd(c->ssl, fd);
            SSL_set_accept_state(c->ssl);   /* the handshake then happens inside SSL_read */
        }
#endif
        struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = c};
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e);
    }
}

static void on_readable(struct conn *c) {
    for (;;) {
        ssize_t n = get(c, scratch, sizeof scratch);
        if (n < 0) { drop(c); return; }
        if (n == 0) return;
        feed(c, scratch, (size_t)n);
        /* TLS may hold more records than epoll knows of; a plain socket that filled the buffer is asked next turn. */
        if (c->fd < 0 || !c->ssl) return;
    }
}

static void on_writable(struct conn *c) {
    while (c->out_at < c->out.len) {
        ssize_t n = put(c, c->out.data + c->out_at, c->out.len - c->out_at);
        if (n < 0) { drop(c); return; }
        if (!n) return;
        c->out_at += (size_t)n;
    }
    c->out.len = c->out_at = 0;
    watch(c, false);
    if (c->place >= 0 && !c->gap_ns) hot_count++;
    if (c->close_after && c->phase == REPLYING && c->place < 0) drop(c);
}

static void send_due(void) {
    uint64_t fired;
    if (read(timer_fd, &fired, sizeof fired) < 0 && errno != EAGAIN) die("timerfd");
    int64_t now = now_ns();
    for (int i = stream_count - 1; i >= 0; i--) {
        struct conn *c = streams[i];
        if (!c->gap_ns || c->due_ns > now) continue;
        c->due_ns += c->gap_ns;
        send_event(c);
    }
    arm_timer();
}

/* Each datagram is a list of streams whose last event has arrived. */
static void send_stepped(void) {
    uint32_t named[1024];
    for (ssize_t n; (n = recv(step_fd, named, sizeof named, MSG_DONTWAIT)) > 0;)
        for (size_t i = 0; i < (size_t)n / sizeof *named; i++) {
            struct conn *c = named[i] < CONNS ? in_step[named[i]] : NULL;
            if (c && c->phase == REPLYING && c->events_left > 0) send_event(c);
        }
}

/* One event of each fast stream a turn: many streams advance together, as they do in front of a real API. */
static void send_hot(void) {
    for (int i = stream_count - 1; i >= 0; i--) {
        struct conn *c = streams[i];
        if (!c->gap_ns && !c->out.len) send_event(c);
    }
}

static void start_tls(const char *cert, const char *key) {
#ifdef WITH_TLS
    tls_context = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_mode(tls_context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    if (SSL_CTX_use_certificate_chain_file(tls_context, cert) != 1 || SSL_CTX_use_PrivateKey_file(tls_context, key, SSL_FILETYPE_PEM) != 1) {
        ERR_print_errors_fp(stderr);
        exit(1);
    }
#else
    (void)cert; (void)key;
    fprintf(stderr, "upstream: built without TLS\n");
    exit(2);
#endif
}

static void turn(void) {
    struct epoll_event events[EVENTS];
    int n = epoll_wait(epoll_fd, events, EVENTS, hot_count ? 0 : -1);
    for (int i = 0; i < n; i++) {
        void *who = events[i].data.ptr;
        if (who == &plain_fd) accept_all(plain_fd);
        else if (who == &tls_fd) accept_all(tls_fd);
        else if (who == &timer_fd) send_due();
        else if (who == &step_fd) send_stepped();
        else {
            struct conn *c = who;
            if (c->fd >= 0 && events[i].events & EPOLLOUT) on_writable(c);
            if (c->fd >= 0 && events[i].events & ~(uint32_t)EPOLLOUT) on_readable(c);
        }
    }
    if (hot_count) send_hot();
    for (struct conn *c; (c = graveyard); free(c)) graveyard = c->next_dead;
}

static void attend(int *fd) {
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = fd};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, *fd, &e);
}

int main(int argc, char **argv) {
    const char *cert = NULL, *key = NULL;
    int port = 0, tls_port = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--port")) port = atoi(argv[i + 1]);
        else if (!strcmp(argv[i], "--tls-port")) tls_port = atoi(argv[i + 1]);
        else if (!strcmp(argv[i], "--cert")) cert = argv[i + 1];
        else if (!strcmp(argv[i], "--key")) key = argv[i + 1];
    }
    if (!port) { fprintf(stderr, "usage: upstream --port P [--tls-port P --cert FILE --key FILE]\n"); return 2; }
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    prctl(PR_SET_TIMERSLACK, 1);      /* the default of 50 us would be most of what is measured */
    prepare_events();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    plain_fd = listen_on(port, SOCK_STREAM);
    step_fd = listen_on(port, SOCK_DGRAM);
    attend(&plain_fd);
    attend(&step_fd);
    attend(&timer_fd);
    if (tls_port) {
        start_tls(cert, key);
        tls_fd = listen_on(tls_port, SOCK_STREAM);
        attend(&tls_fd);
    }
    for (;;) turn();
}
