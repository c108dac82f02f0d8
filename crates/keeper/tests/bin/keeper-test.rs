//! What the server binary is to a keeper: something that runs `keeper::main` when asked to.

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let code = match args.split_first() {
        Some((first, rest)) if first == "keeper" => marathon_keeper::main(rest),
        _ => 2,
    };
    std::process::exit(code);
}
