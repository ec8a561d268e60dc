#pragma once

/* The interfaces we serve, as their files say. GetInterfaceDescription returns them verbatim. */

#define INTERFACE_SERVICE "org.varlink.service"
#define INTERFACE_JOBS    "io.pppctl.Jobs"

/* The description of interface @name, NUL-terminated; NULL when we do not serve it. */
const char *interface_description(const char *name);
