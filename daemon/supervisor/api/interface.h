#pragma once

/* The Varlink interfaces that we serve. GetInterfaceDescription returns their files verbatim. */

#define INTERFACE_SERVICE "org.varlink.service"
#define INTERFACE_JOBS    "io.pppctl.Jobs"

/* The description of interface @name, NUL-terminated; NULL when we do not serve it. */
const char *interface_description(const char *name);
