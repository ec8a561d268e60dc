#include "daemon/supervisor/base/messages.h"

#include "lib/util.h"

/* The meaning of an ID never changes. A new meaning gets a new ID (systemd-id128 new). */
static const char *const ids[_MESSAGE_N] = {
        [MESSAGE_JOB_FAILED] = "38cf567695e84029887cc211b420cc72",
        [MESSAGE_JOB_OOM_KILLED] = "9004bc7671ff40f487dc0cbb99efd0cc",
        [MESSAGE_JOB_PIDS_MAX] = "20ce91f5d3bb4052ab1c673b301603df",
        [MESSAGE_JOB_TIME_MAX] = "8ec34da52b2d428ea7c270f79b06d917",
        [MESSAGE_JOB_CPU_TIME_MAX] = "57a4c009914c4e7f8a1c9fa08a1da781",
        [MESSAGE_WORKERS_KILLED] = "4ee0dcac6ffb47a8a2f0510557880dc8",
        [MESSAGE_JOB_TAKEN_UP] = "84e634aebe8047e39a4e678c8200ef20",
        [MESSAGE_LIMITS_LOST] = "3db55f7ac9e342a8aed1360bbc8553a1",
        [MESSAGE_NO_CONTROLLERS] = "e82140d8a83443da9c843c49bd47194d",
        [MESSAGE_STATE] = "81645ce3ec2249e79959f68289b69f49",
        [MESSAGE_ROW_DAMAGED] = "d071074e7c984249a021ae6f3a26d099",
        [MESSAGE_CONFIG] = "3bbf30c0f59f4f3a8da612e113d1216e",
};

const char *message_id(enum message message)
{
        assert(message < _MESSAGE_N);
        return ids[message];
}
