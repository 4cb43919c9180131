/* A program with NATS's client for C, which a test compiles: it answers at one gateway, asks at another
   and takes leave, or goes on at another one when its gateway is gone. Its last line is "passed" when
   everything was as it should be. */

#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(call)                                                                    \
    do {                                                                               \
        natsStatus status = (call);                                                    \
        if (status != NATS_OK) {                                                       \
            printf("%s: %s\n", #call, natsStatus_GetText(status));                     \
            return 1;                                                                  \
        }                                                                              \
    } while (0)

static void answer(natsConnection *bus, natsSubscription *from, natsMsg *asked, void *closure)
{
    (void)from;
    (void)closure;
    if (natsMsg_GetReply(asked) != NULL)
        natsConnection_Publish(bus, natsMsg_GetReply(asked), natsMsg_GetData(asked),
                               natsMsg_GetDataLength(asked));
    natsMsg_Destroy(asked);
}

static void count(natsConnection *bus, void *closure)
{
    (void)bus;
    __atomic_add_fetch((int *)closure, 1, __ATOMIC_SEQ_CST);
}

static void note(natsConnection *bus, natsSubscription *from, natsMsg *message, void *closure)
{
    (void)bus;
    (void)from;
    if (natsMsg_GetDataLength(message) > 0)
        count(NULL, closure);
    natsMsg_Destroy(message);
}

/* With patience: the machine may be busy with something else. */
static natsStatus enter(natsConnection **bus, const char *url, int *reconnects)
{
    natsOptions *options = NULL;
    natsStatus status = natsOptions_Create(&options);

    if (status == NATS_OK)
        status = natsOptions_SetURL(options, url);
    if (status == NATS_OK)
        status = natsOptions_SetTimeout(options, 60000);
    if (status == NATS_OK)
        status = natsOptions_SetMaxReconnect(options, -1);
    if (status == NATS_OK)
        status = natsOptions_SetReconnectWait(options, 100);
    if (status == NATS_OK && reconnects != NULL)
        status = natsOptions_SetReconnectedCB(options, count, reconnects);
    if (status == NATS_OK)
        status = natsConnection_Connect(bus, options);
    natsOptions_Destroy(options);
    return status;
}

static int servers_known(natsConnection *bus)
{
    char **urls = NULL;
    int found = 0, each;

    if (natsConnection_GetServers(bus, &urls, &found) != NATS_OK)
        return 0;
    for (each = 0; each < found; each++)
        free(urls[each]);
    free(urls);
    return found;
}

/* Go on at another gateway when the first is gone, with all subscriptions. */
static int reconnect(const char *url)
{
    natsConnection *bus = NULL;
    natsSubscription *orders = NULL;
    natsMsg *message = NULL;
    int reconnects = 0;

    CHECK(enter(&bus, url, &reconnects));
    CHECK(natsConnection_SubscribeSync(&orders, bus, "orders.>"));
    CHECK(natsConnection_FlushTimeout(bus, 60000));
    while (servers_known(bus) < 2)
        nats_Sleep(20);
    printf("knows both\n");
    fflush(stdout);
    while (__atomic_load_n(&reconnects, __ATOMIC_SEQ_CST) == 0)
        nats_Sleep(20);
    CHECK(natsConnection_PublishString(bus, "orders.eu", "again"));
    CHECK(natsSubscription_NextMsg(&message, orders, 60000));
    if (strncmp(natsMsg_GetData(message), "again", 5) != 0)
        return 1;
    natsMsg_Destroy(message);
    natsSubscription_Destroy(orders);
    natsConnection_Destroy(bus);
    return 0;
}

/* Take leave in good order: what came before is dealt with. */
static int drain(natsConnection *here, natsConnection *there)
{
    natsSubscription *work = NULL, *end = NULL, *ready = NULL;
    int dealt_with = 0, ended = 0, known = 0, number;

    CHECK(natsConnection_Subscribe(&work, there, "work", note, &dealt_with));
    CHECK(natsConnection_Subscribe(&end, there, "end", note, &ended));
    CHECK(natsConnection_Subscribe(&ready, there, "ready", note, &known));
    CHECK(natsConnection_FlushTimeout(there, 60000));
    while (__atomic_load_n(&known, __ATOMIC_SEQ_CST) == 0) {
        CHECK(natsConnection_PublishString(here, "ready", "x"));
        CHECK(natsConnection_FlushTimeout(here, 60000));
        nats_Sleep(20);
    }
    for (number = 0; number < 100; number++)
        CHECK(natsConnection_PublishString(here, "work", "x"));
    CHECK(natsConnection_PublishString(here, "end", "x"));
    CHECK(natsConnection_FlushTimeout(here, 60000));
    while (__atomic_load_n(&ended, __ATOMIC_SEQ_CST) == 0)
        nats_Sleep(20);
    CHECK(natsConnection_DrainTimeout(there, 120000));
    while (natsConnection_Status(there) != NATS_CONN_STATUS_CLOSED)
        nats_Sleep(20);
    if (__atomic_load_n(&dealt_with, __ATOMIC_SEQ_CST) != 100) {
        printf("%d of 100 are dealt with\n", dealt_with);
        return 1;
    }
    natsSubscription_Destroy(work);
    natsSubscription_Destroy(end);
    natsSubscription_Destroy(ready);
    return 0;
}

/* Requests to a queue group, and one that nobody answers. */
static int ask(natsConnection *here, natsConnection *there)
{
    natsSubscription *work = NULL;
    natsMsg *reply = NULL;
    natsStatus status;
    char text[16];
    int number;

    status = natsConnection_RequestString(&reply, here, "nobody.is.there", "", 60000);
    if (status != NATS_NO_RESPONDERS) {
        printf("nobody.is.there: %s\n", natsStatus_GetText(status));
        return 1;
    }
    CHECK(natsConnection_QueueSubscribe(&work, there, "echo", "workers", answer, NULL));
    CHECK(natsConnection_FlushTimeout(there, 60000));
    /* Until the bus knows of it, nobody is there. */
    do {
        status = natsConnection_RequestString(&reply, here, "echo", "ready", 60000);
        if (status == NATS_NO_RESPONDERS)
            nats_Sleep(20);
    } while (status == NATS_NO_RESPONDERS);
    CHECK(status);
    natsMsg_Destroy(reply);
    for (number = 0; number < 100; number++) {
        snprintf(text, sizeof text, "%d", number);
        CHECK(natsConnection_RequestString(&reply, here, "echo", text, 60000));
        if (strncmp(natsMsg_GetData(reply), text, strlen(text)) != 0) {
            printf("%s is answered %s\n", text, natsMsg_GetData(reply));
            return 1;
        }
        natsMsg_Destroy(reply);
    }
    natsSubscription_Destroy(work);
    return 0;
}

static int basics(const char *near, const char *far)
{
    natsConnection *here = NULL, *there = NULL;

    CHECK(enter(&here, near, NULL));
    CHECK(enter(&there, far, NULL));
    if (ask(here, there) != 0 || drain(here, there) != 0)
        return 1;
    natsConnection_Destroy(there);
    natsConnection_Destroy(here);
    return 0;
}

int main(int words, char **arguments)
{
    int failed = 2;

    if (words == 4 && strcmp(arguments[1], "basics") == 0)
        failed = basics(arguments[2], arguments[3]);
    else if (words == 3 && strcmp(arguments[1], "reconnect") == 0)
        failed = reconnect(arguments[2]);
    if (failed == 0) {
        printf("passed\n");
        fflush(stdout);
    }
    nats_Close();
    return failed;
}
