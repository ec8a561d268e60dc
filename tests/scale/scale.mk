# The level machines with more nodes than there are machines: docs/scale.md. Part of the Makefile.

# NODES=, TASKS= and CHUNKS= choose from the sweep: lists by commas.
SCALE_OPTIONS = $(if $(NODES),--nodes $(NODES)) $(if $(TASKS),--tasks $(TASKS)) $(if $(CHUNKS),--chunks $(CHUNKS))

.PHONY: scale
scale: all $(BUILD)/tests/scale-nodes $(BUILD)/tests/scale-runner-1s
	@$(PYTHON) tests/scale/run.py --build $(BUILD) $(SCALE_OPTIONS)

$(BUILD)/tests/scale-nodes: $(BUILD)/obj/tests/scale/nodes.c.o $(BUILD)/obj/tests/scale/nodes-beat.c.o \
		$(BUILD)/runner.a $(BUILD)/lib.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) -o $@ $^ $(RUNNER_LIBS) $(LIB_LIBS)

# A runner whose chunks are a second of work: what stands before the library is taken instead of it.
$(BUILD)/obj/tests/scale/sizing-1s.o: daemon/runner/machines/sizing.c daemon/runner/machines/sizing.h $(BUILD)/obj/flags
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) $(CPPFLAGS) $(CFLAGS) -DSIZING_CHUNK_NS=NSEC_PER_SEC -c -o $@ $<
$(BUILD)/tests/scale-runner-1s: $(BUILD)/obj/daemon/runner/main.c.o $(BUILD)/obj/tests/scale/sizing-1s.o \
		$(BUILD)/runner.a $(BUILD)/lib.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) -o $@ $^ $(RUNNER_LIBS) $(LIB_LIBS)
