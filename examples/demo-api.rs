//! The demo API as a process of its own: prints its base URL, then serves until it is killed.
//!
//! `cargo run --example demo-api -- --records 5000 --unavailable 20 --cut 10`. All flags take a number, but `--token`.

#![allow(clippy::print_stdout, clippy::disallowed_macros, reason = "it is a program")]

#[allow(dead_code, reason = "the quickstart uses the rest of it")]
#[path = "demo_api/mod.rs"]
mod demo_api;

use demo_api::{DemoApi, Settings};
use std::io::Write;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut settings = Settings::default();
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{flag} needs a number, not `{value}`"));
        match flag.as_str() {
            "--records" => settings.records = number()?,
            "--page-size" => settings.page_size = number()?,
            "--port" => settings.port = u16::try_from(number()?)?,
            "--token" => settings.token = Some(value.clone()),
            "--seed" => settings.content.seed = number()?,
            "--repeated" => settings.content.repeated = number()?,
            "--bad" => settings.content.bad = number()?,
            "--throttle-every" => settings.faults.throttle_every = number()?,
            "--retry-after" => settings.faults.retry_after = number()?,
            "--unavailable" => settings.faults.unavailable = number()?,
            "--cut" => settings.faults.cut = number()?,
            _ => return Err(format!("unknown flag {flag}").into()),
        }
    }
    let api = DemoApi::start(settings).await?;
    println!("{}", api.base_url());
    std::io::stdout().flush()?;
    api.serve_forever().await;
    Ok(())
}
