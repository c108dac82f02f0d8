//! The product's binary as far as the engine needs it.

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let code = match args.split_first() {
        Some((first, rest)) if first == "keeper" => marathon_keeper::main(rest),
        Some((first, rest)) if first == "docker-run" => marathon_docker::main(rest),
        _ => 2,
    };
    std::process::exit(code);
}
