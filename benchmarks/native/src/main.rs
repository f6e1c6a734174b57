//! A forwarder and a receiver as one would write them natively: tokio, tokio-tungstenite, serde_json.
//!
//! `native-peer forward URL HOST:PORT` receives the feed (JSON, or SBE messages of trades), stamps, parses into a struct,
//! wraps the event as a ForwardedEvent and sends it by UDP. `native-peer receive HOST:PORT FILE` parses, measures and keeps every sample
//! until SIGTERM; then it writes them, as pairs of 64-bit integers: event time and time measured, both in nanoseconds.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::net::UdpSocket;
use tokio::signal::unix::{signal, SignalKind};
use tokio_tungstenite::tungstenite::Message;

type Failure = Box<dyn std::error::Error>;

const RECEIVE_BUFFER_BYTES: usize = 8 << 20;

#[derive(Deserialize)]
struct Envelope {
    #[allow(dead_code)]
    stream: String,
    data: Trade,
}

#[derive(Deserialize, Serialize)]
#[allow(dead_code)]
struct Trade {
    #[serde(rename = "E")]
    event_time: i64,
    #[serde(rename = "s")]
    symbol: String,
    #[serde(rename = "t")]
    id: u64,
    #[serde(rename = "p")]
    price: String,
    #[serde(rename = "q")]
    quantity: String,
}

#[derive(Serialize, Deserialize)]
struct ForwardedEvent {
    sequence_id: u64,
    tokyo_receive_timestamp: i64,
    binance_event_time: i64,
    event_data: String,
}

struct Sample {
    event_ns: i64,
    measured_ns: i64,
    #[allow(dead_code)]
    end_to_end_ns: i64,
    #[allow(dead_code)]
    backbone_ns: i64,
}

/// Read an SBE message of one trade (schema `spot_stream` 1:0, template 10000).
fn trade_of(data: &[u8]) -> Option<Trade> {
    let short = |at: usize| Some(u16::from_le_bytes(data.get(at..at + 2)?.try_into().ok()?));
    let long = |at: usize| Some(i64::from_le_bytes(data.get(at..at + 8)?.try_into().ok()?));
    if short(2)? != 10000 {
        return None;
    }
    // The head, the root block by its stated length, the group's head, its entry, and the symbol behind its length.
    let entry = 8 + usize::from(short(0)?) + 6;
    let symbol = entry + usize::from(short(entry - 6)?);
    let exponent = |at: usize, value: i64| Some(value as f64 * 10f64.powi(i32::from(*data.get(at)? as i8)));
    Some(Trade {
        event_time: long(8)?,
        symbol: std::str::from_utf8(data.get(symbol + 1..)?).ok()?.to_owned(),
        id: long(entry)? as u64,
        price: exponent(24, long(entry + 8)?)?.to_string(),
        quantity: exponent(25, long(entry + 16)?)?.to_string(),
    })
}

fn wall_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64)
}

async fn forward(url: &str, destination: &str) -> Result<(), Failure> {
    let socket = UdpSocket::bind("0.0.0.0:0").await?;
    socket.connect(destination).await?;
    let (mut feed, _response) = tokio_tungstenite::connect_async_with_config(url, None, true).await?;
    println!("{{\"ready\": true}}");
    let mut sequence_id = 0;
    while let Some(message) = feed.next().await {
        let tokyo_receive_timestamp = wall_ns();
        let (binance_event_time, event_data) = match message? {
            Message::Text(text) => {
                let Ok(envelope) = serde_json::from_str::<Envelope>(text.as_str()) else { continue };
                (envelope.data.event_time, text.as_str().to_owned())
            }
            Message::Binary(data) => {
                let Some(trade) = trade_of(&data) else { continue };
                (trade.event_time, serde_json::to_string(&trade)?)
            }
            _ => continue,
        };
        sequence_id += 1;
        let event = ForwardedEvent { sequence_id, tokyo_receive_timestamp, binance_event_time, event_data };
        let _ = socket.send(&serde_json::to_vec(&event)?).await;
    }
    Ok(())
}

async fn receive(address: &str, file: &str) -> Result<(), Failure> {
    let raw = std::net::UdpSocket::bind(address)?;
    socket2::SockRef::from(&raw).set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    raw.set_nonblocking(true)?;
    let socket = UdpSocket::from_std(raw)?;
    println!("{{\"ready\": true}}");
    let mut stop = signal(SignalKind::terminate())?;
    let mut samples: Vec<Sample> = Vec::new();
    let mut buffer = vec![0u8; 65536];
    loop {
        let size = tokio::select! {
            biased;
            received = socket.recv(&mut buffer) => received?,
            _ = stop.recv() => break,
        };
        let Ok(event) = serde_json::from_slice::<ForwardedEvent>(&buffer[..size]) else { continue };
        let measured_ns = wall_ns();
        let event_ns = event.binance_event_time * 1000;
        samples.push(Sample {
            event_ns,
            measured_ns,
            end_to_end_ns: measured_ns - event_ns,
            backbone_ns: measured_ns - event.tokyo_receive_timestamp,
        });
    }
    let mut out = std::io::BufWriter::new(std::fs::File::create(file)?);
    for sample in &samples {
        out.write_all(&sample.event_ns.to_le_bytes())?;
        out.write_all(&sample.measured_ns.to_le_bytes())?;
    }
    out.flush()?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["forward", url, destination] => forward(url, destination).await,
        ["receive", address, file] => receive(address, file).await,
        _ => Err("usage: native-peer forward URL HOST:PORT | receive HOST:PORT FILE".into()),
    }
}
