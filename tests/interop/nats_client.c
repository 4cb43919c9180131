/* A program with NATS's client for C, which a test compiles: it answers at one gateway and asks at
   another, and its last line is "passed" when everything was as it should be. */

#include <nats/nats.h>
#include <stdio.h>
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

/* With patience: the machine may be busy with something else. */
static natsStatus enter(natsConnection **bus, const char *url)
{
    natsOptions *options = NULL;
    natsStatus status = natsOptions_Create(&options);

    if (status == NATS_OK)
        status = natsOptions_SetURL(options, url);
    if (status == NATS_OK)
        status = natsOptions_SetTimeout(options, 60000);
    if (status == NATS_OK)
        status = natsConnection_Connect(bus, options);
    natsOptions_Destroy(options);
    return status;
}

int main(int count, char **arguments)
{
    natsConnection *here = NULL, *there = NULL;
    natsSubscription *work = NULL;
    natsMsg *reply = NULL;
    natsStatus status;
    char text[16];
    int number;

    if (count != 3)
        return 2;
    CHECK(enter(&here, arguments[1]));
    CHECK(enter(&there, arguments[2]));
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
    CHECK(natsConnection_Drain(there));
    printf("passed\n");
    fflush(stdout);
    natsSubscription_Destroy(work);
    natsConnection_Destroy(there);
    natsConnection_Destroy(here);
    nats_Close();
    return 0;
}
