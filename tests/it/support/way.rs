//! A way to PostgreSQL that can be cut.

use projectord::private_server::free_port;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A way to the server that can be cut.
pub struct Way {
    pub port: u16,
    pub server: String,
    open: Option<JoinSet<()>>,
}

impl Way {
    /// Closed at first.
    pub fn to(url: &str) -> Self {
        let place = url.rsplit('@').next().unwrap().split('/').next().unwrap();
        Self { port: free_port().unwrap(), server: place.to_owned(), open: None }
    }

    pub async fn open(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        let server = self.server.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let server = server.clone();
                connections.spawn(async move {
                    let mut far = TcpStream::connect(server).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        self.open = Some(tasks);
    }

    /// The URL that takes it.
    pub fn url(&self, url: &str) -> String {
        url.replace(&self.server, &format!("127.0.0.1:{}", self.port))
    }

    /// Cuts every connection.
    pub async fn cut(&mut self) {
        if let Some(mut tasks) = self.open.take() {
            tasks.shutdown().await;
        }
    }
}
