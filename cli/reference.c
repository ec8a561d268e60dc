#include "cli/reference.h"

int reference_init(struct reference *reference, uint64_t n_tasks)
{
        reference->values = calloc(n_tasks, sizeof(*reference->values));
        return reference->values ? 0 : -ENOMEM;
}

void reference_deinit(struct reference *reference)
{
        free(reference->values);
        *reference = (struct reference)REFERENCE_NULL;
}

const struct first_value *reference_check(struct reference *reference, uint64_t i,
                                          const char *level, uint64_t value)
{
        struct first_value *first = &reference->values[i];

        if (!first->known)
                *first = (struct first_value){ value, level, true };
        return first->value == value ? NULL : first;
}
