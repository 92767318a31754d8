//! [`RedisBus`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bb8_redis::redis::{Cmd, RedisError};
use bytes::Bytes;
use chat_core::bus::{BusError, Delivery, MessageBus, Subscriber, Topic, Topics};

use crate::commands::Commands;
use crate::listener::{Ear, Listener};
use crate::mailbox::Heard;

/// A [`MessageBus`] over Redis' publish and subscribe: a channel for each topic.
#[derive(Debug)]
pub struct RedisBus {
    commands: Arc<Commands>,
    ears: Mutex<Ears>,
}

/// Those who listen.
#[derive(Debug, Default)]
struct Ears {
    open: Vec<Ear<Topic>>,
    is_closed: bool,
}

impl RedisBus {
    pub(crate) fn new(commands: Arc<Commands>) -> Self {
        Self {
            commands,
            ears: Mutex::default(),
        }
    }

    fn ears(&self) -> MutexGuard<'_, Ears> {
        self.ears.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unavailable(error: RedisError) -> BusError {
    BusError::Unavailable(error.into())
}

#[async_trait]
impl MessageBus for RedisBus {
    async fn publish(&self, topic: Topic, envelope: Bytes) -> Result<(), BusError> {
        if self.ears().is_closed {
            return Err(BusError::Closed);
        }
        let publish = Cmd::new()
            .arg("PUBLISH")
            .arg(self.commands.key(topic))
            .arg(&envelope[..])
            .take();
        // Answers how many heard it, which may be nobody.
        let _: u64 = self.commands.query(&publish).await.map_err(unavailable)?;
        Ok(())
    }

    async fn connect(&self) -> Result<Box<dyn Subscriber>, BusError> {
        if self.ears().is_closed {
            return Err(BusError::Closed);
        }
        let listener = Listener::start(Arc::clone(&self.commands)).await;
        let mut ears = self.ears();
        if ears.is_closed {
            return Err(BusError::Closed);
        }
        ears.open.retain(|ear| !ear.is_closed());
        ears.open.push(listener.ear());
        drop(ears);
        Ok(Box::new(RedisSubscriber {
            commands: Arc::clone(&self.commands),
            listener,
        }))
    }

    async fn close(&self) {
        let mut ears = self.ears();
        ears.is_closed = true;
        ears.open.drain(..).for_each(|ear| ear.close());
    }
}

#[derive(Debug)]
struct RedisSubscriber {
    commands: Arc<Commands>,
    listener: Listener<Topic>,
}

#[async_trait]
impl Subscriber for RedisSubscriber {
    fn topics(&self) -> Box<dyn Topics> {
        Box::new(RedisTopics {
            commands: Arc::clone(&self.commands),
            ear: self.listener.ear(),
        })
    }

    async fn next(&mut self) -> Option<Delivery> {
        Some(match self.listener.next().await? {
            Heard::Message(topic, envelope) => Delivery::Envelope(topic, envelope),
            Heard::Gap => Delivery::Gap,
        })
    }
}

#[derive(Debug)]
struct RedisTopics {
    commands: Arc<Commands>,
    ear: Ear<Topic>,
}

impl RedisTopics {
    fn checked(&self, result: Result<(), RedisError>) -> Result<(), BusError> {
        if self.ear.is_closed() {
            return Err(BusError::Closed);
        }
        result.map_err(unavailable)
    }
}

#[async_trait]
impl Topics for RedisTopics {
    async fn subscribe(&self, topic: Topic) -> Result<(), BusError> {
        let result = self.ear.subscribe(self.commands.key(topic), topic).await;
        self.checked(result)
    }

    async fn unsubscribe(&self, topic: Topic) -> Result<(), BusError> {
        let result = self.ear.unsubscribe(self.commands.key(topic)).await;
        self.checked(result)
    }
}
