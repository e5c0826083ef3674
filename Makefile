# The few commands that a person needs. What they need is installed, built or fetched by themselves.
.PHONY: demo demo-down test model images generate goldens lint bench bench-peers soak fuzz prepare

# From nothing to a running service that writes code.
demo: prepare
	cargo build --locked -p codecrucible-tests
	target/debug/demo up

demo-down:
	cargo build --locked -p codecrucible-tests
	target/debug/demo down

# Every test, on a real cluster and a real model.
test: WITH = --tests
test: prepare lint model images
	cargo test --locked --workspace --exclude codecrucible-tests --exclude codecrucible-benches
	for name in test second; do target/debug/cluster --name codecrucible-$$name down || exit 1; done
	cargo test --locked -p codecrucible-tests -- --test-threads=4
	for name in test second; do target/debug/cluster --name codecrucible-$$name down || exit 1; done

# Fetches the model files: resumes, and checks their hashes.
model: prepare
	target/debug/demo model

images:
	cargo build --locked -p codecrucible-tests
	target/debug/demo images

# Writes what is generated from the code.
generate:
	cargo run --locked -q -p codecrucible-crds --bin crdgen manifests/crds
	cargo run --locked -q -p codecrucible-crds --bin crdgen charts/codecrucible-operator/crds

# Writes what is made of the inputs in operator/goldens, for a person to look through.
goldens:
	REFRESH_GOLDENS=1 cargo test --locked -q -p codecrucible-operator goldens

lint:
	cargo fmt --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	for member in crds contract operator engine tests; do cargo check --locked -p codecrucible-$$member || exit 1; done
	cargo check --locked -p codecrucible-workload --no-default-features

bench: prepare
	cargo bench --locked -p codecrucible-benches

# The figures beside other projects', which are built into the cache first.
bench-peers: prepare
	INSTALL_PEERS=1 cargo bench --locked -p codecrucible-benches --bench decode --bench peers

# Ten minutes of all kinds of requests at once; draws memory, descriptors and tasks in docs/soak.svg.
soak: prepare
	cargo run --locked --release -p codecrucible-benches --bin soak

# A minute of each fuzz target. What they find lies in fuzz/artifacts.
fuzz:
	cargo install --quiet --locked --root target/tools cargo-fuzz@0.13.2
	for target in request events answers bundle headers redaction; do mkdir -p fuzz/corpus/$$target; \
		PATH="$(CURDIR)/target/tools/bin:$$PATH" RUSTC_BOOTSTRAP=1 cargo fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target \
		-- -max_total_time=60 -max_len=16384 || exit 1; done

# Installs Debian packages and builds the cluster's programs, where they are missing.
prepare:
	cargo build --locked -p codecrucible-tests
	target/debug/cluster prepare $(WITH)
