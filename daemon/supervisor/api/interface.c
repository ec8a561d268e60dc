#include "daemon/supervisor/api/interface.h"

#include "lib/util.h"

/* The file itself is embedded, so that the same text is installed, served and tested. */
__asm__(".pushsection .rodata\n"
        ".globl pppd_interface_jobs\n"
        ".hidden pppd_interface_jobs\n"
        "pppd_interface_jobs:\n"
        ".incbin \"include/pppctl/io.pppctl.Jobs.varlink\"\n"
        ".byte 0\n"
        ".popsection\n");
extern const char pppd_interface_jobs[];

static const char interface_service[] =
        "# The Varlink Service Interface is provided by every varlink service. It\n"
        "# describes the service and the interfaces it implements.\n"
        "interface org.varlink.service\n"
        "\n"
        "# Get a list of all the interfaces a service provides and information\n"
        "# about the implementation.\n"
        "method GetInfo() -> (\n"
        "  vendor: string,\n"
        "  product: string,\n"
        "  version: string,\n"
        "  url: string,\n"
        "  interfaces: []string\n"
        ")\n"
        "\n"
        "# Get the description of an interface that is implemented by this service.\n"
        "method GetInterfaceDescription(interface: string) -> (description: string)\n"
        "\n"
        "# The requested interface was not found.\n"
        "error InterfaceNotFound (interface: string)\n"
        "\n"
        "# The requested method was not found\n"
        "error MethodNotFound (method: string)\n"
        "\n"
        "# The interface defines the requested method, but the service does not\n"
        "# implement it.\n"
        "error MethodNotImplemented (method: string)\n"
        "\n"
        "# One of the passed parameters is invalid.\n"
        "error InvalidParameter (parameter: string)\n"
        "\n"
        "# Client is denied access\n"
        "error PermissionDenied ()\n"
        "\n"
        "# Method is expected to be called with 'more' set to true, but wasn't\n"
        "error ExpectedMore ()\n";

const char *interface_description(const char *name)
{
        if (streq(name, INTERFACE_SERVICE))
                return interface_service;
        if (streq(name, INTERFACE_JOBS))
                return pppd_interface_jobs;
        return NULL;
}
