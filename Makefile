# Needs Python 3.11 or later and a package index; everything else goes into .venv.
.DEFAULT_GOAL := help
.PHONY: help demo test chaos lint bench bench-mesh sim clean
BIN := .venv/bin
PYTEST_ARGS ?=
DEMO_ARGS ?=
CHAOS_ARGS ?=
SIM_ARGS ?=
BENCH_ARGS ?=
export PYTHON

# $(call gate,name,command): silent when it holds; when not, says what it said and stops.
define gate
@said=$$($(2) 2>&1) && echo "ok: $(1)" || { printf '%s\n' "$$said" "make: $(1) failed, so nothing after it was run" >&2; exit 1; }
endef

help:
	@echo "make demo         three daemons share real work, one is killed, nothing is lost            (DEMO_ARGS=...)"
	@echo "make test         lint, types, floors and every test                                       (PYTEST_ARGS=...)"
	@echo "make lint         the same without the tests"
	@echo "make chaos        every fault under every load on real daemons, as a table: 20 to 30 min   (CHAOS_ARGS=...)"
	@echo "make bench        a few real daemons beside their aims: starts, idle cost, latency, kills  (BENCH_ARGS=...)"
	@echo "make bench-mesh   forty real daemons: detection, spread, idle cost beside the goals        (BENCH_ARGS=...)"
	@echo "make sim          the mesh in a virtual world                                              (SIM_ARGS=...)"
	@echo "make clean        remove what the others made"

demo:
	@.ci/install run
	@$(BIN)/meshctl demo $(DEMO_ARGS)

test: lint
	@$(BIN)/python -m pytest -n 3 --dist worksteal $(PYTEST_ARGS) || { [ $$? -eq 1 ] && \
		echo "make: what failed side by side with others is run once more, alone" >&2 && \
		$(BIN)/python -m pytest --last-failed --last-failed-no-failures none $(PYTEST_ARGS); }

chaos:
	@.ci/install dev
	@$(BIN)/python -m pytest -m chaos tests/live $(CHAOS_ARGS)

lint:
	@.ci/install dev
	$(call gate,ruff check,$(BIN)/ruff check)
	$(call gate,ruff format --check,$(BIN)/ruff format --check)
	$(call gate,mypy --strict,$(BIN)/python -m mypy)
	$(call gate,import floors,$(BIN)/lint-imports)

bench:
	@.ci/install dev
	@$(BIN)/python tests/bench/figures.py $(BENCH_ARGS)

bench-mesh:
	@.ci/install dev
	@$(BIN)/python tests/bench/mesh.py $(BENCH_ARGS)

sim:
	@.ci/install run
	@$(BIN)/python -m simulations $(SIM_ARGS)

clean:
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
