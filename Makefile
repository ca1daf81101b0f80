# SPDX-License-Identifier: GPL-2.0-or-later
#
# make demo      the main job end to end in a virtual machine, with a verdict
# make demo-fc   the main job over Fibre Channel, on two emulated boards in two virtual machines
# make test      everything: unit tests, checks of the sources, tests in the virtual machine
# make test-long [ROUNDS=10000 SEED=]  the tests that go on for as long as they are told to
# make vm TEST=tests/vm/guest/test_x.py[::name]     build the modules, run one test in the virtual machine
# make shell CMD='lsblk'                            build the modules, run a command in the virtual machine
# make bench     measure beside LIO and the floors
# make lint      ruff, mypy, all compiler warnings and sparse
# make modules [KDIR=/lib/modules/.../build]        build the modules for a kernel, into build/modules/<release>
# make install [DESTDIR=] modules for the running kernel (or KDIR), scstadmin, man pages, completion, udev rules and units
# make docs      the pages in docs/ that are made from the tables of settings and verbs
# make test-hba  the emulated QLogic HBA: unit tests, and all scenarios in virtual machines
# make test-kernels  the modules built for newer kernels, the emulated HBA under the drivers of all of them, some faults on the newest,
#                and the tests in the virtual machine with poisoned memory (slub_debug, page_poison)
# make fuzz [FUZZ_TIME=600]  libFuzzer on all that reads bytes from the wire and from files, for so many seconds
# make test-debug [KERNEL=6.1] [KIND=kcsan] [SHARE=1/1]  faults, and a share of the tests, on a debug kernel, which is built
#                first when it is not in the cache; of the kind kcsan: the tests, looking for accesses that nothing orders.
#                Each day another seventh of the tests, or the share that is given; 1/1: all

SHELL := /bin/bash
SETUP := tests/vm/setup.sh
PY := .venv/bin/python
VM := $(PY) -m tests.vm
KDIR ?=
DESTDIR ?=
PREFIX ?= /usr/local
ROUNDS ?= 10000
FUZZ_TIME ?= 600
SEED ?=
LONG_TESTS := tests/vm/guest/test_life.py tests/vm/guest/test_power_cut.py tests/vm/guest/test_shuffles.py \
	tests/vm/guest/test_reserve_power_cut.py tests/vm/guest/test_sanitize_power_cut.py tests/vm/guest/test_model.py
# Where pages are poisoned, dropping caches keeps a CPU for long; and objects are larger than what is reckoned with.
POISON := slub_debug=FZPU page_poison=1 rcupdate.rcu_cpu_stall_timeout=120
NOT_POISONED := --deselect=tests/vm/guest/test_memory.py::test_what_a_host_costs
KERNEL ?= 6.1
KIND ?= kasan
SHARE ?=
HBA_SCENARIOS := 2432 2532 2312 2300 scst-one-vm
HBA_FAULTS := scst-fault-crash scst-fault-abts
INSTALL_KDIR = $(or $(KDIR),/lib/modules/$(shell uname -r)/build)

.PHONY: all demo demo-fc test test-long test-hba unit vm shell bench lint lint-python lint-kernel test-kernels test-debug fuzz modules docs install setup clean

all: modules

setup:
	@$(SETUP) vm

demo: setup
	@$(PY) -m tests.vm.demo

demo-fc: setup
	@$(PY) tests/hba/run.py setup --kernel 6.1
	@PYTHONPATH=tests $(PY) -m hba.vm.demo

test: setup
	@$(PY) -m tests.vm.suite

test-long: setup
	@SCST_MAPPINGS=1000000 SCST_WRITES=100 SCST_EDITS=1000 SCST_EXAMPLES=10000 SCST_SHUFFLES=10000 \
		$(if $(SEED),SCST_SEED=$(SEED)) $(PY) -m pytest -q -s tests/unit/test_size.py tests/unit/test_race.py \
		tests/unit/test_any_value.py tests/sim/test_identity.py
	@$(VM) test --timeout 14400 --env SCST_ROUNDS=$(ROUNDS) --env SCST_SHUFFLES=200 --env SCST_PR_CUTS=100 \
		--env SCST_MODEL_STEPS=100000 --env SCST_MODEL_LOCAL_STEPS=100000 \
		$(if $(SEED),--env SCST_SEED=$(SEED)) -- $(LONG_TESTS)
	@$(VM) test --timeout 14400 --env SCST_LONG=1 --env SCST_REAL=1 --env SCST_BLOCKDEV=/dev/vda \
		$(if $(SEED),--env SCST_SEED=$(SEED)) -- tests/vm/guest tests/sim
	@$(VM) test --systemd --timeout 3600 --env SCST_LONG=1 -- tests/vm/systemd
	@$(PY) -m tests.vm.netboot

test-hba: setup
	@$(PY) tests/hba/run.py unit
	@$(PY) tests/hba/run.py vm

unit:
	@$(SETUP) python
	@$(PY) -m pytest -q

vm: setup
	@$(VM) test $(VMFLAGS) -- $(TEST)

shell: setup
	@$(VM) run $(VMFLAGS) -- /bin/bash -c $(if $(CMD),'$(subst ','\'',$(CMD))',$(error make shell CMD='command'))

bench: setup
	@$(PY) -m bench $(BENCHFLAGS)

lint: lint-python lint-kernel

lint-python:
	@$(SETUP) python
	@$(PY) -m ruff check .
	@$(PY) -m mypy

lint-kernel: setup
	@$(VM) check

test-kernels:
	@$(SETUP) kernels
	@$(PY) -m tests.vm.kernels
	@$(PY) tests/hba/run.py vm $(HBA_SCENARIOS) --kernel 6.1 --kernel 6.12 --kernel 7.3
	@$(PY) tests/hba/run.py vm $(HBA_FAULTS) --kernel 7.3
	@$(VM) test --append '$(POISON)' --env SCST_SLOW=8 --timeout 9000 -- $(NOT_POISONED) tests/vm/guest

test-debug:
	@$(SETUP) debug $(KERNEL)
	@$(PY) -m tests.debug --kind=$(KIND) --series=$(KERNEL) $(if $(SHARE),--share=$(SHARE))

fuzz:
	@$(SETUP) fuzz
	@$(PY) -m tests.fuzz --time $(FUZZ_TIME)

modules: setup
	@$(VM) build $(if $(KDIR),--kdir $(KDIR))

docs:
	@$(SETUP) python
	@$(PY) -m pyscstadmin.cli.pages settings >docs/settings.md
	@$(PY) -m pyscstadmin.cli.pages verbs >docs/verbs.md
	@$(PY) -m pyscstadmin.iscsi.keys >docs/iscsi-keys.md

install:
	@tests/vm/install.sh '$(INSTALL_KDIR)' '$(DESTDIR)' '$(PREFIX)'

clean:
	rm -rf build
