//! A way to a RethinkDB whose feeds can fall silent, as behind a connection that is half open.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The term CHANGES, as a query begins that opens a feed.
const CHANGES: &[u8] = b"[152,";

/// The way. Feeds that are open when it goes deaf hear nothing more; later ones do.
#[derive(Debug)]
pub struct DeafWay {
    pub port: u16,
    opened: Arc<AtomicUsize>,
    deaf_before: Arc<AtomicUsize>,
}

impl DeafWay {
    /// To `host:port`.
    pub async fn to(place: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (opened, deaf_before) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let way = Self { port, opened: Arc::clone(&opened), deaf_before: Arc::clone(&deaf_before) };
        let place = place.to_owned();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(&place).await.unwrap();
                let nth = opened.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(pass(near, far, nth, Arc::clone(&deaf_before)));
            }
        });
        way
    }

    /// The feeds that are open now fall silent, without an error.
    pub fn go_deaf(&self) {
        self.deaf_before.store(self.opened.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

async fn pass(near: TcpStream, far: TcpStream, nth: usize, deaf_before: Arc<AtomicUsize>) {
    let ((mut near_read, mut near_write), (mut far_read, mut far_write)) =
        (near.into_split(), far.into_split());
    let is_feed = Arc::new(AtomicBool::new(false));
    let saw_feed = Arc::clone(&is_feed);
    let asks = tokio::spawn(async move {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(n @ 1..) = near_read.read(&mut bytes).await {
            if bytes[..n].windows(CHANGES.len()).any(|window| window == CHANGES) {
                saw_feed.store(true, Ordering::SeqCst);
            }
            if far_write.write_all(&bytes[..n]).await.is_err() {
                break;
            }
        }
    });
    let mut bytes = vec![0; 64 << 10];
    while let Ok(n @ 1..) = far_read.read(&mut bytes).await {
        let deaf = is_feed.load(Ordering::SeqCst) && nth < deaf_before.load(Ordering::SeqCst);
        if !deaf && near_write.write_all(&bytes[..n]).await.is_err() {
            break;
        }
    }
    asks.abort();
}
