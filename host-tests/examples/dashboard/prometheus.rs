//! A Prometheus that watches one Envoy.

use std::{
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use portcullis_host_tests::{
    envoy::Envoy,
    loopback::{Answer, Connection, Reply, Request, Service},
};
use serde_json::{Value, json};

pub struct Prometheus {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
    _metrics: Service,
}

/// One line of an answer: its labels, and values at times in seconds.
pub struct Series {
    pub labels: Value,
    pub points: Vec<(f64, f64)>,
}

impl Prometheus {
    /// Asks `envoy` for its metrics every second.
    pub fn start(envoy: Arc<Envoy>) -> Result<Self> {
        let metrics = Service::start(move |_| match envoy.admin("/stats/prometheus") {
            Ok(text) => Answer::status(200).body("text/plain; version=0.0.4", text),
            Err(_) => Answer::status(503),
        })?;
        let folder = tempfile::tempdir()?;
        let configuration = json!({
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [{
                "job_name": "envoy", "static_configs": [{"targets": [metrics.address().to_string()]}],
                "metric_relabel_configs": [{"target_label": "instance", "replacement": "gateway"}],
            }],
        });
        // JSON is YAML.
        std::fs::write(folder.path().join("prometheus.yml"), configuration.to_string())?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run `prometheus`: install it, for instance with `apt-get install prometheus`")?;
        let own = Self { child, address, _folder: folder, _metrics: metrics };
        let start = Instant::now();
        while own.get("/-/ready").is_err() {
            ensure!(start.elapsed() < Duration::from_secs(30), "prometheus does not get ready");
            thread::sleep(Duration::from_millis(100));
        }
        Ok(own)
    }

    fn get(&self, target: &str) -> Result<Reply> {
        let reply = Connection::open(self.address)?.call(&Request::get(target))?;
        ensure!(reply.status == 200, "{}: {}", reply.status, String::from_utf8_lossy(&reply.body));
        Ok(reply)
    }

    /// What `expression` was, once a second from the first time to the second, in seconds since 1970.
    pub fn range(&self, expression: &str, (start, end): (f64, f64)) -> Result<Vec<Series>> {
        let query: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let reply =
            self.get(&format!("/api/v1/query_range?query={query}&start={start}&end={end}&step=1"))?.json()?;
        let result = reply["data"]["result"].as_array().with_context(|| reply.to_string())?;
        let series = |series: &Value| {
            let point = |point: &Value| Some((point[0].as_f64()?, point[1].as_str()?.parse().ok()?));
            let points = series["values"].as_array()?.iter().map(point).collect::<Option<_>>()?;
            Some(Series { labels: series["metric"].clone(), points })
        };
        result.iter().map(series).collect::<Option<_>>().context("not what Prometheus answers")
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
