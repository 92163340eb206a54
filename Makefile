# make demo    installs everything, then trains on the bundled sample: BLEU and plots in 3 to 5 minutes on 2 cores with native bfloat16
# make test    runs the tests
# make check   runs the linters and the type checker
# make study   installs everything, and the engine of the comparison study (experiments/comparison) in .venv-study
# make clean   removes both environments and caches, but keeps runs/ and corpora/
#
# PYTHON=python3.11 chooses the interpreter for .venv (3.11 to 3.13).

.PHONY: demo test check study install install-dev clean

demo: install
	scripts/demo.sh

test: install-dev
	.venv/bin/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

check: install-dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/shellcheck -x scripts/*.sh scripts/lib/*.sh .ci/run

study:
	@scripts/install.sh --study

install:
	@scripts/install.sh

install-dev:
	@scripts/install.sh --dev

clean:
	rm -rf .venv .venv-study build .pytest_cache .ruff_cache .mypy_cache gradinit_mt.egg-info
	find benchmarks data docs examples experiments gradinit_mt tests -name __pycache__ -type d -prune -exec rm -rf {} +
