/*
 * A row of racks gets its power back: many clients boot at once, each as firmware does.
 *
 * Each client takes an address (DHCP as UEFI), reads the first program (TFTP, window 4), takes
 * its address again (DHCP as iPXE), then reads script, kernel and initrd (HTTP, one connection
 * each). Run inside the clients' namespace, where every client's address is on the interface;
 * DHCP goes through one relay socket, as a rack switch would send it.
 *
 * In C, one epoll loop, and the kernel discards the files (MSG_TRUNC), so that the servers are
 * measured and not the clients: both sides share the machine's cores.
 *
 * storm_client CLIENTS SPREAD_SECONDS RELAY SERVER
 * prints one JSON object.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BLKSIZE 1468
#define WINDOW 4
#define SECOND 1000000000ull
#define PATIENCE (60 * SECOND) /* that any one step may take before the client counts as lost */
#define LONGEST_PAUSE (8 * SECOND)
#define URL_MAX 512
#define TEXT_MAX 16384

enum step { OFF, DISCOVER, REQUEST, TFTP, DISCOVER_IPXE, REQUEST_IPXE, SCRIPT, KERNEL, INITRD,
            BOOTED, LOST };
enum { DHCP_END, PROGRAM_END, SCRIPT_END, DONE_END, MARKS };
static const char *const mark_names[] = {"dhcp", "program", "script", "done"};

struct client {
    enum step step;
    int number, fd;
    uint64_t begun, since, resend, pause; /* nanoseconds */
    double marks[MARKS];
    struct in_addr address;
    unsigned char server_id[4];
    char file[URL_MAX], initrd[URL_MAX];
    int known;            /* TFTP: the transfer's port */
    unsigned block, window;
    unsigned char sent[516]; /* TFTP: to send again */
    size_t sent_length;
    char text[TEXT_MAX];  /* HTTP: the head, and the whole script */
    size_t text_length;
    int64_t left;         /* HTTP: bytes of the body still to come; -1 in the head */
    char error[160];
};

static struct sockaddr_in relay, server_dhcp, server_tftp;
static int relay_fd, poller, count, ended;
static struct client *all;
static unsigned long dhcp_retries, tftp_retries, connections;
static unsigned char buffer[1 << 16];
static char discarded[1 << 22];

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

static void hang_up(struct client *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

static void lose(struct client *c, const char *what)
{
    snprintf(c->error, sizeof c->error, "%s in step %d", what, c->step);
    hang_up(c);
    c->step = LOST;
    ended++;
}

static void enter(struct client *c, enum step step, uint64_t t)
{
    c->step = step;
    c->since = t;
    c->pause = SECOND;
    c->resend = t + c->pause;
}

static void mark(struct client *c, int which, uint64_t t)
{
    c->marks[which] = (double)(t - c->begun) / SECOND;
}

/* ---- DHCP ---- */

static unsigned char *option(unsigned char *at, int code, size_t length, const void *value)
{
    *at++ = code;
    *at++ = length;
    memcpy(at, value, length);
    return at + length;
}

static void send_dhcp(struct client *c)
{
    unsigned char packet[512] = {1, 1, 6, 1}, *at = packet + 240;
    uint32_t xid = htonl(c->number << 4 | c->step);
    unsigned char mac[6] = {0x52, 0x54, 0, 0x99, c->number >> 8, c->number}, uuid[17] = {0};
    int again = c->step == DISCOVER_IPXE || c->step == REQUEST_IPXE;
    int request = c->step == REQUEST || c->step == REQUEST_IPXE;
    memcpy(packet + 4, &xid, 4);
    memcpy(packet + 24, &relay.sin_addr, 4);
    memcpy(packet + 28, mac, 6);
    memcpy(packet + 236, "\x63\x82\x53\x63", 4);
    memcpy(uuid + 1, mac, 6);
    at = option(at, 53, 1, request ? "\3" : "\1");
    at = option(at, 93, 2, "\0\7");
    at = option(at, 60, 32, "PXEClient:Arch:00007:UNDI:003000");
    at = option(at, 97, 17, uuid);
    at = option(at, 55, 7, "\1\3\6\53\74\102\103");
    if (request) {
        at = option(at, 50, 4, &c->address);
        at = option(at, 54, 4, c->server_id);
    }
    if (again)
        at = option(at, 77, 4, "iPXE");
    *at++ = 255;
    sendto(relay_fd, packet, at - packet, 0, (struct sockaddr *)&server_dhcp, sizeof server_dhcp);
}

static void begin_tftp(struct client *c);
static void begin_http(struct client *c, const char *url);

static void take_dhcp(ssize_t n, uint64_t t)
{
    uint32_t xid;
    memcpy(&xid, buffer + 4, 4);
    xid = ntohl(xid);
    int number = xid >> 4;
    if (n < 244 || number < 1 || number > count)
        return;
    struct client *c = &all[number - 1];
    if (c->step != (enum step)(xid & 15) || c->step > REQUEST_IPXE || c->step == TFTP)
        return; /* an answer to an earlier question */
    int type = 0;
    char file[URL_MAX] = "";
    memcpy(file, buffer + 108, 128);
    memcpy(&c->address, buffer + 16, 4);
    for (unsigned char *at = buffer + 240; at + 1 < buffer + n && *at != 255;) {
        if (!*at) {
            at++;
            continue;
        }
        if (at + 2 + at[1] > buffer + n)
            break;
        if (at[0] == 53)
            type = at[2];
        else if (at[0] == 54)
            memcpy(c->server_id, at + 2, 4);
        else if (at[0] == 67) {
            memcpy(file, at + 2, at[1]);
            file[at[1]] = 0;
        }
        at += 2 + at[1];
    }
    if (type == 6) {
        lose(c, "DHCP: NAK");
        return;
    }
    switch (c->step) {
    case DISCOVER:
        enter(c, REQUEST, t);
        send_dhcp(c);
        break;
    case DISCOVER_IPXE:
        enter(c, REQUEST_IPXE, t);
        send_dhcp(c);
        break;
    case REQUEST:
        strcpy(c->file, file);
        mark(c, DHCP_END, t);
        enter(c, TFTP, t);
        begin_tftp(c);
        break;
    default:
        enter(c, SCRIPT, t);
        begin_http(c, file);
    }
}

/* ---- sockets of a client ---- */

static int open_socket(struct client *c, int type)
{
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr = c->address};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    c->fd = socket(AF_INET, type | SOCK_NONBLOCK, 0);
    if (c->fd < 0 || bind(c->fd, (struct sockaddr *)&own, sizeof own)
        || epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event)) {
        lose(c, strerror(errno));
        return -1;
    }
    return 0;
}

/* ---- TFTP ---- */

static void send_tftp(struct client *c)
{
    if (c->known)
        send(c->fd, c->sent, c->sent_length, 0);
    else
        sendto(c->fd, c->sent, c->sent_length, 0, (struct sockaddr *)&server_tftp,
               sizeof server_tftp);
}

static void acknowledge(struct client *c)
{
    unsigned char ack[4] = {0, 4, c->block >> 8, c->block};
    memcpy(c->sent, ack, c->sent_length = 4);
    send_tftp(c);
}

static void begin_tftp(struct client *c)
{
    c->known = c->block = 0;
    c->window = 1;
    if (open_socket(c, SOCK_DGRAM))
        return;
    memcpy(c->sent, "\0\1", 2);
    c->sent_length = 3 + snprintf((char *)c->sent + 2, 500, "%s%coctet%cblksize%c%d%cwindowsize%c%d",
                                  c->file, 0, 0, 0, BLKSIZE, 0, 0, WINDOW);
    send_tftp(c);
}

static void take_tftp(struct client *c, uint64_t t)
{
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    ssize_t n = recvfrom(c->fd, buffer, sizeof buffer, 0, (struct sockaddr *)&from, &length);
    if (n < 4) {
        if (n < 0 && errno != EAGAIN)
            lose(c, strerror(errno));
        return;
    }
    c->pause = SECOND;
    c->resend = t + c->pause;
    c->since = t;
    if (!c->known) {
        connect(c->fd, (struct sockaddr *)&from, sizeof from);
        c->known = 1;
    }
    switch (buffer[1]) {
    case 5:
        lose(c, "TFTP: ERROR");
        return;
    case 6:
        c->window = memmem(buffer, n, "windowsize", 10) ? WINDOW : 1;
        acknowledge(c);
        return;
    case 3:
        if ((unsigned)(buffer[2] << 8 | buffer[3]) != ((c->block + 1) & 0xffff))
            return;
        c->block++;
        int done = n - 4 < BLKSIZE;
        if (done || c->block % c->window == 0)
            acknowledge(c);
        if (done) {
            mark(c, PROGRAM_END, t);
            hang_up(c);
            enter(c, DISCOVER_IPXE, t);
            send_dhcp(c);
        }
    }
}

/* ---- HTTP ---- */

static void begin_http(struct client *c, const char *url)
{
    char host[64], path[URL_MAX];
    int port = 80;
    if (sscanf(url, "http://%63[^:/]:%d/%511s", host, &port, path) != 3
        && sscanf(url, "http://%63[^:/]/%511s", host, path) != 2) {
        lose(c, "not an HTTP URL");
        return;
    }
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, host, &to.sin_addr);
    c->text_length = 0;
    c->left = -1;
    if (open_socket(c, SOCK_STREAM))
        return;
    connections++;
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) {
        lose(c, strerror(errno));
        return;
    }
    c->sent_length = snprintf(c->text, sizeof c->text,
                              "GET /%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
                              path, host);
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
}

static void ask_http(struct client *c)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (send(c->fd, c->text, c->sent_length, MSG_NOSIGNAL) != (ssize_t)c->sent_length)
        lose(c, "HTTP: request not sent");
    else
        epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
    c->sent_length = 0;
}

/* The URL on the first line that begins with a word; 0: there is none. */
static int url_of(const char *script, const char *word, char *url)
{
    for (const char *line = script; line; line = strchr(line, '\n')) {
        line += strspn(line, " \t\n");
        const char *at = strstr(line, "http://"), *end = strchr(line, '\n');
        if (!strncmp(line, word, strlen(word)) && at && (!end || at < end)) {
            size_t length = strcspn(at, " \t\r\n|");
            if (length >= URL_MAX)
                return 0;
            memcpy(url, at, length);
            url[length] = 0;
            return 1;
        }
    }
    return 0;
}

static void end_http(struct client *c, uint64_t t)
{
    char url[URL_MAX];
    hang_up(c);
    switch (c->step) {
    case SCRIPT:
        mark(c, SCRIPT_END, t);
        c->text[c->text_length] = 0;
        char *body = strstr(c->text, "\r\n\r\n");
        if (!url_of(body, "kernel", url) || !url_of(body, "initrd", c->initrd)) {
            lose(c, "the script names no kernel and initrd");
            return;
        }
        enter(c, KERNEL, t);
        begin_http(c, url);
        return;
    case KERNEL:
        enter(c, INITRD, t);
        begin_http(c, c->initrd);
        return;
    default:
        mark(c, DONE_END, t);
        c->step = BOOTED;
        ended++;
    }
}

static void take_http(struct client *c, uint64_t t)
{
    ssize_t n;
    if (c->sent_length) {
        ask_http(c);
        return;
    }
    c->since = t;
    if (c->left >= 0 && c->step != SCRIPT) {
        size_t room = c->left < (int64_t)sizeof discarded ? (size_t)c->left : sizeof discarded;
        n = recv(c->fd, discarded, room, MSG_TRUNC);
    } else
        n = recv(c->fd, c->text + c->text_length, TEXT_MAX - 1 - c->text_length, 0);
    if (n <= 0) {
        if (n == 0)
            lose(c, "HTTP: cut short");
        else if (errno != EAGAIN)
            lose(c, strerror(errno));
        return;
    }
    if (c->left < 0) {
        c->text_length += n;
        c->text[c->text_length] = 0;
        char *end = strstr(c->text, "\r\n\r\n"), *length = strcasestr(c->text, "\ncontent-length:");
        if (!end) {
            if (c->text_length == TEXT_MAX - 1)
                lose(c, "HTTP: endless head");
            return;
        }
        if (strncmp(c->text, "HTTP/1.1 200 ", 13) || !length || length > end) {
            lose(c, "HTTP: no whole file");
            return;
        }
        c->left = atoll(length + 16) - (c->text_length - (end + 4 - c->text));
    } else {
        c->left -= n;
        if (c->step == SCRIPT)
            c->text_length += n;
    }
    if (c->left <= 0)
        end_http(c, t);
}

/* ---- all clients ---- */

static void look_at_clocks(uint64_t t)
{
    for (int i = 0; i < count; i++) {
        struct client *c = &all[i];
        if (c->step == BOOTED || c->step == LOST)
            continue;
        if (c->step == OFF) {
            if (t >= c->begun) {
                enter(c, DISCOVER, t);
                send_dhcp(c);
            }
            continue;
        }
        if (t - c->since > PATIENCE) {
            lose(c, "no answer");
            continue;
        }
        if (t < c->resend || c->step > REQUEST_IPXE)
            continue;
        c->pause = c->pause * 2 < LONGEST_PAUSE ? c->pause * 2 : LONGEST_PAUSE;
        c->resend = t + c->pause;
        if (c->step == TFTP) {
            tftp_retries++;
            send_tftp(c);
        } else {
            dhcp_retries++;
            send_dhcp(c);
        }
    }
}

static void run(void)
{
    struct epoll_event events[64];
    uint64_t looked = 0;
    while (ended < count) {
        int ready = epoll_wait(poller, events, 64, 1);
        uint64_t t = now();
        for (int i = 0; i < ready; i++) {
            struct client *c = events[i].data.ptr;
            ssize_t n;
            if (!c)
                while ((n = recv(relay_fd, buffer, sizeof buffer, 0)) > 0)
                    take_dhcp(n, t);
            else if (c->step == TFTP)
                take_tftp(c, t);
            else if (c->step >= SCRIPT && c->step <= INITRD)
                take_http(c, t);
        }
        if (t - looked > SECOND / 1000) {
            looked = t;
            look_at_clocks(t);
        }
    }
}

static void report(uint64_t begun)
{
    struct rusage used;
    const char *comma = "";
    getrusage(RUSAGE_SELF, &used);
    printf("{\"seconds\": %.3f, \"cpu\": %.3f, \"dhcp_retries\": %lu, \"tftp_retries\": %lu, "
           "\"marks\": [", (double)(now() - begun) / SECOND,
           used.ru_utime.tv_sec + used.ru_stime.tv_sec
           + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6, dhcp_retries, tftp_retries);
    for (int i = 0; i < count; i++)
        if (all[i].step == BOOTED) {
            printf("%s{", comma);
            for (int m = 0; m < MARKS; m++)
                printf("%s\"%s\": %.4f", m ? ", " : "", mark_names[m], all[i].marks[m]);
            printf("}");
            comma = ", ";
        }
    printf("], \"errors\": [");
    comma = "";
    for (int i = 0; i < count; i++)
        if (all[i].step == LOST) {
            printf("%s\"%s\"", comma, all[i].error);
            comma = ", ";
        }
    printf("]}\n");
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: %s CLIENTS SPREAD_SECONDS RELAY SERVER\n", argv[0]);
        return 2;
    }
    count = atoi(argv[1]);
    double spread = atof(argv[2]) * SECOND;
    struct rlimit files = {count + 64, count + 64};
    setrlimit(RLIMIT_NOFILE, &files);
    relay.sin_family = server_dhcp.sin_family = server_tftp.sin_family = AF_INET;
    relay.sin_port = server_dhcp.sin_port = htons(67);
    server_tftp.sin_port = htons(69);
    inet_pton(AF_INET, argv[3], &relay.sin_addr);
    inet_pton(AF_INET, argv[4], &server_dhcp.sin_addr);
    server_tftp.sin_addr = server_dhcp.sin_addr;

    int room = 1 << 22;
    relay_fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    setsockopt(relay_fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    if (bind(relay_fd, (struct sockaddr *)&relay, sizeof relay)) {
        perror("relay");
        return 1;
    }
    poller = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, relay_fd, &event);
    all = calloc(count, sizeof *all);
    uint64_t begun = now();
    for (int i = 0; i < count; i++) {
        all[i].number = i + 1;
        all[i].fd = -1;
        all[i].begun = begun + (uint64_t)(spread * i / count);
    }
    run();
    report(begun);
    return 0;
}
