//! An HTTP client for the requests of the examples.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::AnyError;

/// Sends a request with a JSON body and the bearer token `token` to the server at this address.
/// Returns the status and the JSON of the response. A response that is not JSON is returned as a
/// JSON string.
///
/// # Errors
/// The server cannot be reached, or its response cannot be read.
pub async fn request(
    server: SocketAddr,
    method_and_path: &str,
    token: &str,
    body: Value,
) -> Result<(u16, Value), AnyError> {
    let body = body.to_string();
    let request = format!(
        "{method_and_path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len(),
    );
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    let (head, body) = response
        .split_once("\r\n\r\n")
        .ok_or("the response has no end of headers")?;
    let status = head.split(' ').nth(1).ok_or("the response has no status")?.parse()?;
    Ok((status, serde_json::from_str(body).unwrap_or_else(|_| Value::from(body))))
}
