# Everything goes through scripts/, so that each step can also be run alone.

.PHONY: run demo demo-reset test sytest bench fmt lint

# Builds in release, makes data/ on first use, and serves on http://localhost:8008.
run:
	@scripts/run.sh

# Two hospitals that federate, with staff, roles and rooms that require them, until Ctrl-C.
demo:
	@scripts/demo.sh

# Forgets what was done there.
demo-reset:
	@scripts/demo.sh --reset

# Formatting, lints, unit, property and black-box tests, then real clients against the real binary.
test:
	@scripts/test.sh

# SyTest against the server: SYTEST_DIR names a checkout of matrix-org/sytest, outside of this one.
sytest:
	@scripts/setup.sh sytest
	@tests/sytest/run.sh

# The benchmark, beside recorded figures of other servers.
bench:
	@scripts/bench.sh

fmt:
	@cargo fmt --all

lint:
	@scripts/lint.sh
