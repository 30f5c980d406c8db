//! TLS to both databases: it verifies, and says what is wrong.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;
use projectord::private_server::{Disk, PrivatePostgres, free_port};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use sqlx::{Connection, Executor, PgConnection};
use tempfile::TempDir;

use crate::support::{Project, open_folder, rethink_trial, start_rethinkdb_with, text, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("tls::postgresql_is_verified_when_tls_is_asked_for", postgresql),
        rethink_trial("tls::rethinkdb_is_verified", rethinkdb),
        rethink_trial("tls::rethinkdb_may_demand_a_client_certificate", rethinkdb_client),
        trial("tls::a_url_that_asks_for_what_is_not_there_is_refused", urls),
    ]
}

/// Certificates in a folder: `ca.pem`, another authority's `other_ca.pem`, and `NAME.pem` with `NAME.key`.
struct Certificates {
    folder: TempDir,
    ca: (CertificateParams, KeyPair),
}

impl Certificates {
    fn new() -> Self {
        let folder = open_folder();
        let ca = authority("projectord tests");
        let other = authority("somebody else");
        for (name, (params, key)) in [("ca", &ca), ("other_ca", &other)] {
            std::fs::write(folder.path().join(format!("{name}.pem")), params.self_signed(key).unwrap().pem())
                .unwrap();
        }
        let made = Self { folder, ca };
        made.issue("server", "127.0.0.1", 4000);
        made.issue("expired", "127.0.0.1", 2001);
        made.issue("misnamed", "elsewhere.example", 4000);
        made.issue("client", "client", 4000);
        made
    }

    fn issue(&self, name: &str, subject: &str, until: i32) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([subject.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, subject);
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let issuer = Issuer::from_params(&self.ca.0, &self.ca.1);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn text(&self, file: &str) -> String {
        self.path(file).display().to_string()
    }
}

fn authority(name: &str) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (params, KeyPair::generate().unwrap())
}

/// What `setup` says, which must fail; one line, without the password.
fn refused(project: &Project, password: &str) -> String {
    let output = project.run(&["setup"]);
    let said = text(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(!said.contains(password) && !said.contains("panicked"), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "{said}");
    said
}

async fn postgresql() {
    let certificates = Certificates::new();
    let folder = open_folder();
    let server = PrivatePostgres::start(&folder.path().join("pg"), Disk::Volatile).unwrap();
    let url = server.url("postgres");
    let password = url.split(['/', '@', ':']).nth(4).unwrap().to_owned();
    let mut admin = PgConnection::connect(&url).await.unwrap();
    let mut project = Project::new().await;

    project.postgres_url = format!("{url}?sslmode=require");
    assert!(refused(&project, &password).contains("server does not support TLS"));

    let data = folder.path().join("pg/data");
    for (certificate, ca, wanted) in [
        ("server", "ca", None),
        ("server", "other_ca", Some("UnknownIssuer")),
        ("expired", "ca", Some("expired")),
        ("misnamed", "ca", Some("not valid for name")),
    ] {
        use_certificate(&mut admin, &certificates, &data, certificate).await;
        for mode in ["require", "verify-ca", "verify-full"] {
            project.postgres_url =
                format!("{url}?sslmode={mode}&sslrootcert={}", certificates.text(&format!("{ca}.pem")));
            match wanted {
                None => drop(project.ok(&["setup"])),
                Some(wanted) => {
                    let said = refused(&project, &password);
                    assert!(said.contains(wanted), "{certificate} {ca} {mode}: {said}");
                }
            }
        }
    }
}

/// The server takes up a certificate without being started again.
async fn use_certificate(admin: &mut PgConnection, certificates: &Certificates, data: &Path, name: &str) {
    let owner = std::fs::metadata(data).unwrap();
    for ending in ["pem", "key"] {
        let to = data.join(format!("server.{ending}"));
        let _ = std::fs::remove_file(&to);
        std::fs::copy(certificates.path(&format!("{name}.{ending}")), &to).unwrap();
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o600)).unwrap();
        chown(&to, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    for setting in ["ssl_cert_file = 'server.pem'", "ssl_key_file = 'server.key'", "ssl = on"] {
        admin.execute(sqlx::AssertSqlSafe(format!("alter system set {setting}"))).await.unwrap();
    }
    admin.execute("select pg_reload_conf()").await.unwrap();
    // A new session of ours has it as soon as the server does.
    let wanted = "select setting = 'on' from pg_settings where name = 'ssl'";
    loop {
        let (on,): (bool,) = sqlx::query_as(wanted).fetch_one(&mut *admin).await.unwrap();
        if on {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

async fn rethinkdb() {
    let certificates = Certificates::new();
    let mut project = Project::new().await;
    let plain = free_port().unwrap();
    let (_server, _folder) = start_rethinkdb_with(plain, &[]);
    project.store_url =
        Some(format!("rethinkdbs://127.0.0.1:{plain}/shop?ca={}", certificates.text("ca.pem")));
    let said = refused(&project, "\0");
    assert!(said.contains("does the server speak TLS"), "{said}");

    for (certificate, ca, wanted) in [
        ("server", "ca", None),
        ("server", "other_ca", Some("UnknownIssuer")),
        ("expired", "ca", Some("expired")),
        ("misnamed", "ca", Some("not valid for name")),
    ] {
        let port = free_port().unwrap();
        let (cert, key) = (
            certificates.text(&format!("{certificate}.pem")),
            certificates.text(&format!("{certificate}.key")),
        );
        let (_server, _folder) =
            start_rethinkdb_with(port, &["--driver-tls-cert", &cert, "--driver-tls-key", &key]);
        let ca = certificates.text(&format!("{ca}.pem"));
        project.store_url = Some(format!("rethinkdbs://127.0.0.1:{port}/shop?ca={ca}"));
        match wanted {
            None => works(&project),
            Some(wanted) => {
                let said = refused(&project, "\0");
                assert!(said.contains(wanted), "{certificate} {ca}: {said}");
            }
        }
    }
}

/// From an append to a row, all of it encrypted.
fn works(project: &Project) {
    project.copy("projections/orders");
    project.ok(&["setup"]);
    let stream = "6763e85f-f8d5-5bee-ad04-4ed1d6d49798";
    let order = ["append", stream, "OrderCreated", r#"{"user_id": 7, "total": 1}"#, "--stream-type", "order"];
    project.ok(&order);
    project.ok(&["run", "--until-caught-up"]);
    assert!(project.ok(&["stream", stream]).contains("OrderCreated"));
    assert!(project.ok(&["status"]).contains("log      1 events"));
}

async fn rethinkdb_client() {
    let certificates = Certificates::new();
    let port = free_port().unwrap();
    let (cert, key, ca) =
        (certificates.text("server.pem"), certificates.text("server.key"), certificates.text("ca.pem"));
    let (_server, _folder) = start_rethinkdb_with(
        port,
        &["--driver-tls-cert", &cert, "--driver-tls-key", &key, "--driver-tls-ca", &ca],
    );
    let mut project = Project::new().await;
    project.store_url = Some(format!("rethinkdbs://127.0.0.1:{port}/shop?ca={ca}"));
    let said = refused(&project, "\0");
    assert!(said.contains("TLS") || said.contains("cannot reach"), "{said}");
    let (cert, key) = (certificates.text("client.pem"), certificates.text("client.key"));
    project.store_url = Some(format!("rethinkdbs://127.0.0.1:{port}/shop?ca={ca}&cert={cert}&key={key}"));
    works(&project);
}

async fn urls() {
    let certificates = Certificates::new();
    let (cert, key) = (certificates.text("client.pem"), certificates.text("client.key"));
    let mut project = Project::new().await;
    for (url, wanted) in [
        ("rethinkdb://h/shop?ca=x".to_owned(), "say rethinkdbs://"),
        ("rethinkdbs://h/shop?root=x".to_owned(), "known are ca, cert, key"),
        ("rethinkdbs://h/shop?ca=/nowhere.pem".to_owned(), "/nowhere.pem: No such file"),
        (format!("rethinkdbs://h/shop?cert={cert}"), "cert and key go together"),
        (format!("rethinkdbs://h/shop?ca={key}"), "holds no certificate"),
        (format!("rethinkdbs://h/shop?cert={cert}&key={cert}"), "client.pem"),
    ] {
        project.store_url = Some(url.clone());
        let output = project.run(&["check"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{url}: {said}");
        assert!(said.contains("store.url") && said.contains(wanted), "{url}: {said}");
    }
    project.store_url = None;
    project.postgres_url += "?sslmode=require&sslrootcert=/nowhere.pem";
    let output = project.run(&["check"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("sslrootcert: /nowhere.pem: No such file"), "{said}");
}
