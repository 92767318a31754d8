//! The commands `devices` and `devices revoke`.

use chat_core::client::Client;
use chat_core::model::{Command, DeviceId, Outcome};

use crate::args::DeviceCommand;
use crate::failure::Failure;
use crate::output::{DeviceLine, DoneLine, Output};

use crate::session::unexpected;

pub(super) async fn devices(
    client: &Client,
    command: Option<DeviceCommand>,
    output: &mut Output,
) -> Result<(), Failure> {
    let Some(DeviceCommand::Revoke { id }) = command else {
        return match client.execute(Command::ListDevices).await? {
            Outcome::Devices(devices) => devices
                .iter()
                .try_for_each(|device| output.print(&DeviceLine::from(device))),
            other => Err(unexpected(&other)),
        };
    };
    let device: DeviceId = id
        .parse()
        .map_err(|_| Failure::usage(format!("{id:?} is not a device id; `chat-client devices` lists them")))?;
    client.execute(Command::RevokeDevice(device)).await?;
    output.print(&DoneLine::new("revoke", format!("revoked device {device}")))
}
