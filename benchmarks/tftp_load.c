/*
 * Many TFTP clients in one process: fetches one file again and again for some seconds.
 *
 * In C, so that the servers are measured and not the clients. Uses the same calls for every
 * server: one connected socket for each client, epoll, UDP_GRO where a window is asked for.
 *
 * tftp_load ADDRESS PORT FILE SIZE CLIENTS BLKSIZE WINDOWSIZE SECONDS HOLD
 * prints: BYTES SECONDS FILES_COMPLETE RETRIES ERRORS
 * HOLD 1: ask, take the first block and stay silent for SECONDS (to look at the server's memory).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

struct client {
    int fd;
    int known;          /* the server's port */
    uint64_t block;     /* blocks received in order */
    uint64_t acked;
    uint64_t bytes;
    uint64_t active;    /* nanoseconds */
};

static struct sockaddr_in server;
static unsigned blksize, window;
static uint64_t size, total, complete, retries, errors;
static int poller, hold;
static char request[512];
static size_t request_length;
static unsigned char buffer[1 << 17];

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void begin(struct client *c)
{
    if (c->fd > 0)
        close(c->fd);
    memset(c, 0, sizeof *c);
    c->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    int on = 1;
    if (window > 1)
        setsockopt(c->fd, SOL_UDP, UDP_GRO, &on, sizeof on);
    int room = 1 << 19;
    setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event);
    sendto(c->fd, request, request_length, 0, (struct sockaddr *)&server, sizeof server);
    c->active = now();
}

static void acknowledge(struct client *c)
{
    unsigned char ack[4] = {0, 4, c->block >> 8, c->block};
    send(c->fd, ack, 4, 0);
    c->acked = c->block;
}

/* 1: the file is complete, -1: the transfer failed, 0: go on */
static int take(struct client *c, unsigned char *p, size_t n)
{
    if (n < 4)
        return 0;
    unsigned number = p[2] << 8 | p[3];
    switch (p[1]) {
    case 6:
        if (!c->block)
            acknowledge(c);
        return 0;
    case 5:
        return -1;
    case 3:
        if (number != ((c->block + 1) & 0xffff)) {
            if (window > 1 && number != (c->block & 0xffff))
                acknowledge(c);
            return 0;
        }
        c->block++;
        c->bytes += n - 4;
        total += n - 4;
        if (n - 4 < blksize) {
            acknowledge(c);
            return c->bytes == size ? 1 : -1;
        }
        if (c->block - c->acked >= window && !hold)
            acknowledge(c);
    }
    return 0;
}

static void serve(struct client *c)
{
    char control[64];
    struct sockaddr_in from;
    struct iovec vector = {buffer, sizeof buffer};
    struct msghdr message = {&from, sizeof from, &vector, 1, control, sizeof control, 0};
    ssize_t n;
    if (window > 1 || !c->known)
        n = recvmsg(c->fd, &message, 0);
    else
        n = recv(c->fd, buffer, sizeof buffer, 0);
    if (n <= 0) {
        if (n < 0 && errno != EAGAIN) {
            errors++;
            begin(c);
        }
        return;
    }
    size_t step = n;
    if (window > 1 || !c->known)
        for (struct cmsghdr *m = CMSG_FIRSTHDR(&message); m; m = CMSG_NXTHDR(&message, m))
            if (m->cmsg_level == SOL_UDP && m->cmsg_type == UDP_GRO)
                step = *(uint16_t *)CMSG_DATA(m);
    if (!c->known) {
        connect(c->fd, (struct sockaddr *)&from, sizeof from);
        c->known = 1;
    }
    for (ssize_t at = 0; at < n; at += step) {
        int end = take(c, buffer + at, (size_t)(n - at) < step ? (size_t)(n - at) : step);
        if (end) {
            complete += end > 0;
            errors += end < 0;
            begin(c);
            return;
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 10) {
        fprintf(stderr, "usage: %s ADDRESS PORT FILE SIZE CLIENTS BLKSIZE WINDOWSIZE SECONDS HOLD\n",
                argv[0]);
        return 2;
    }
    server.sin_family = AF_INET;
    inet_pton(AF_INET, argv[1], &server.sin_addr);
    server.sin_port = htons(atoi(argv[2]));
    size = strtoull(argv[4], NULL, 10);
    int clients = atoi(argv[5]);
    blksize = atoi(argv[6]);
    window = atoi(argv[7]);
    double seconds = atof(argv[8]);
    hold = atoi(argv[9]);

    memcpy(request, "\0\1", 2);
    int n = 2 + sprintf(request + 2, "%s%coctet%cblksize%c%u", argv[3], 0, 0, 0, blksize) + 1;
    if (window > 1)
        n += sprintf(request + n, "windowsize%c%u", 0, window) + 1;
    request_length = n;

    struct rlimit files = {clients + 64, clients + 64};
    setrlimit(RLIMIT_NOFILE, &files);
    poller = epoll_create1(0);
    struct client *all = calloc(clients, sizeof *all);
    for (int i = 0; i < clients; i++)
        begin(&all[i]);
    struct epoll_event events[64];
    uint64_t start = now(), end = start + (uint64_t)(seconds * 1e9), t = start, checked = start;
    while (t < end) {
        int ready = epoll_wait(poller, events, 64, 50);
        t = now();
        for (int i = 0; i < ready; i++) {
            struct client *c = events[i].data.ptr;
            c->active = t;
            serve(c);
        }
        if (hold || t - checked < 100000000)
            continue;
        checked = t;
        for (int i = 0; i < clients; i++)
            if (t - all[i].active > 1000000000) { /* a second of silence */
                retries++;
                if (all[i].known) {
                    acknowledge(&all[i]);
                    all[i].active = t;
                } else
                    begin(&all[i]);
            }
    }
    printf("%llu %.3f %llu %llu %llu\n", (unsigned long long)total, (t - start) / 1e9,
           (unsigned long long)complete, (unsigned long long)retries, (unsigned long long)errors);
    return 0;
}
