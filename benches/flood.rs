//! The same replay with HTTP at rest and under a flood: requests for metrics from many connections, as fast as they
//! are answered, and as many connections that send their requests a byte at a time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use projectord::postgres::migrate;
use projectord::private_server::free_port;
use sqlx::PgPool;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::report::Report;
use crate::servers::{Servers, until};

const EVENTS: i64 = 300_000;
/// Connections that ask as fast as they can, in all so many times a second: what a program gone wild asks, and little
/// enough for the asking itself not to take the processor from what is measured.
const ASKING: usize = 16;
const PER_SECOND: u32 = 400;
/// Connections that are slow.
const SLOW: usize = 400;
const ROUNDS: usize = 3;

pub async fn run(servers: &Servers, report: &mut Report) {
    eprintln!("flood");
    let (url, pool) = servers.database("flood").await;
    migrate(&pool).await.expect("migrate");
    fill(&pool).await;
    let (mut quiet, mut flooded, mut answered, mut time) = (0.0_f64, 0.0_f64, 0, Duration::ZERO);
    for _ in 0..ROUNDS {
        quiet = quiet.max(replay(servers, &url, &pool, None).await);
        let (answers, begun) = (Arc::new(AtomicU64::new(0)), Instant::now());
        flooded = flooded.max(replay(servers, &url, &pool, Some(Arc::clone(&answers))).await);
        answered += answers.load(Ordering::Relaxed);
        time += begun.elapsed();
    }
    assert!(answered > 0, "the flood reached nobody");
    report.rate("replay under a flood of HTTP", flooded, "HTTP at rest", quiet, Some(0.95));
    report.value("answers to the flood in a second", answered as f64 / time.as_secs_f64(), "/s", None);
}

/// Events a second from the first batch to the last, while HTTP is flooded if anybody counts the answers.
async fn replay(servers: &Servers, url: &str, pool: &PgPool, answers: Option<Arc<AtomicU64>>) -> f64 {
    let forget = "drop schema if exists orders, customers cascade;
                  delete from projectord.generations; delete from projectord.projections;";
    sqlx::raw_sql(forget).execute(pool).await.expect("forget");
    let address = SocketAddr::from(([127, 0, 0, 1], free_port().expect("a port")));
    let listen = [("PROJECTORD_HTTP__LISTEN", address.to_string())];
    let listen: Vec<(&str, &str)> = listen.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let daemon = servers.daemon_with(url, None, "projections", &listen);
    let checkpoint =
        "select case when count(*) = 2 then min(checkpoint) else 0 end from projectord.generations";
    let flood = answers.map(|answers| Flood::begin(address, answers));
    until(pool, checkpoint, 1).await;
    let (first,): (i64,) = sqlx::query_as(checkpoint).fetch_one(pool).await.expect("checkpoint");
    let begun = Instant::now();
    until(pool, checkpoint, EVENTS).await;
    let rate = (EVENTS - first) as f64 / begun.elapsed().as_secs_f64();
    drop((flood, daemon));
    rate
}

/// Peers that are no part of what is measured: they take the processor only where nobody else wants it, as if they
/// were on another machine.
struct Flood {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    fn begin(address: SocketAddr, answers: Arc<AtomicU64>) -> Self {
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            #[cfg(target_os = "linux")]
            rustix::process::nice(19).expect("a lower priority");
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let mut peers = JoinSet::new();
                for _ in 0..ASKING {
                    peers.spawn(ask(address, Arc::clone(&answers)));
                }
                for _ in 0..SLOW {
                    peers.spawn(trickle(address));
                }
                let _ = stopped.await;
            });
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Asks again and again, over connections as the daemon lets it.
async fn ask(address: SocketAddr, answers: Arc<AtomicU64>) {
    let every = Duration::from_secs(1) * u32::try_from(ASKING).unwrap_or(1) / PER_SECOND;
    loop {
        let mut tick = tokio::time::interval(every);
        if let Ok(mut stream) = TcpStream::connect(address).await {
            let mut bytes = vec![0; 64 << 10];
            let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
            while stream.write_all(request).await.is_ok() && matches!(stream.read(&mut bytes).await, Ok(1..))
            {
                answers.fetch_add(1, Ordering::Relaxed);
                tick.tick().await;
            }
        }
        tick.tick().await;
    }
}

/// A request that never ends, again and again.
async fn trickle(address: SocketAddr) {
    loop {
        if let Ok(mut stream) = TcpStream::connect(address).await {
            let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nX: ").await;
            while stream.write_all(b"a").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn fill(pool: &PgPool) {
    for sql in [
        format!(
            "insert into projectord.events
             select n, md5(n::text)::uuid, 'order', 1, 'OrderCreated', jsonb_build_object('user_id', n % 1000, 'total', 12.5),
                    '{{}}', gen_random_uuid(), clock_timestamp()
               from generate_series(1, {EVENTS}) n"
        ),
        format!("update projectord.log_head set position = {EVENTS}"),
        "vacuum analyze projectord.events".into(),
    ] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(pool).await.expect("events");
    }
}
