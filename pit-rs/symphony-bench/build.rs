//! Compiles the C programs of the bus benchmark, as functions: they are linked with the very libzmq
//! that our crates use.

const SOURCES: &str = "../../scripts/benchmarks/bus";

fn main() {
    println!("cargo:rerun-if-changed={SOURCES}/zmq_min.h");
    for name in ["hub", "load"] {
        let source = format!("{SOURCES}/{name}.c");
        println!("cargo:rerun-if-changed={source}");
        cc::Build::new()
            .file(source)
            .std("c11")
            .opt_level(2)
            .define("main", format!("bench_{name}").as_str())
            .compile(&format!("bench_{name}"));
    }
}
