# make demo    the main job, on real guests: release build, private namespaces, nothing left behind
# make lab     a real three-node Ganeti cluster in namespaces, left running; tests/lab enters it and takes it down
# make test    format, lints, docs, tests (does its own set-up)
# make test-lab  the tests that want a whole cluster; CI runs both
#
# Others: setup, lint, bench, fuzz. Each does the set-up it needs; YES=1 installs without asking.

.DELETE_ON_ERROR:
.PHONY: demo lab test test-lab setup lint bench fuzz

FUZZ_SECONDS ?= 60

demo: setup
	cargo build --release --locked -p nfdhcpd -p snf-ifup -p system-tests --bins
	cargo run --quiet --release --locked -p system-tests --bin demo

lab: setup
	cargo build --release --locked -p nfdhcpd -p snf-ifup -p snf-agent -p system-tests --bins
	tests/lab up $(LAB)

# Two tests a core: most of the time they wait for real clients, which renew and rebind by their own clocks.
test: setup lint
	cargo build --locked --workspace --bins
	RUST_TEST_THREADS=$$((2 * $$(nproc))) cargo test --locked --workspace

# Two clusters at a time: each has three nodes and up to two guests by emulation.
test-lab: setup
	cargo build --locked --workspace --bins
	RUST_TEST_THREADS=2 cargo test --locked --workspace --test lab -- --ignored --nocapture

lint:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items --quiet
	@if command -v cargo-deny >/dev/null; then cargo deny --locked check; \
	else echo "lint: cargo-deny is not installed, licences and advisories not checked (cargo install --locked cargo-deny)"; fi

setup:
	@packaging/setup/install packaging/setup/packages.txt

bench: setup
	cargo build --release --locked -p nfdhcpd -p snf-ifup -p snf-agent -p system-tests --bins
	cargo run --quiet --release --locked -p system-tests --bin bench -- $(BENCH)

fuzz:
	@command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
	cd nfdhcpd/fuzz && for target in $$(cargo fuzz list); do \
	  mkdir -p found/$$target crashes/$$target; \
	  cargo fuzz run -s none $$target found/$$target corpus/$$target -- -max_total_time=$(FUZZ_SECONDS) \
	    -artifact_prefix=crashes/$$target/ || exit 1; done
