//! Message bus on Redis: [`RedisBus`].

use std::sync::Arc;

use async_trait::async_trait;
use bb8_redis::redis::{Cmd, RedisError};
use bytes::Bytes;
use chat_core::bus::{BusError, BusMessage, MessageBus, Subscriber, Topic, Topics};
use chat_core::sync::Mutex;

use crate::commands::CommandSender;
use crate::listener::{Listener, ListenerHandle};
use crate::mailbox::BusEvent;

/// A [`MessageBus`] over Redis Pub/Sub, with one channel for each topic.
#[derive(Debug)]
pub struct RedisBus {
    commands: Arc<CommandSender>,
    subscribers: Mutex<Subscribers>,
}

/// The subscribers of a bus, which it has to close.
#[derive(Debug, Default)]
struct Subscribers {
    /// Handles of the subscribers. Those of dropped subscribers stay until the next `connect`.
    handles: Vec<ListenerHandle<Topic>>,
    /// `true` once the bus is closed.
    is_closed: bool,
}

impl RedisBus {
    pub(crate) fn new(commands: Arc<CommandSender>) -> Self {
        Self {
            commands,
            subscribers: Mutex::default(),
        }
    }
}

fn unavailable(error: RedisError) -> BusError {
    BusError::Unavailable(error.into())
}

#[async_trait]
impl MessageBus for RedisBus {
    async fn publish(&self, topic: Topic, envelope: Bytes) -> Result<(), BusError> {
        if self.subscribers.lock().is_closed {
            return Err(BusError::Closed);
        }
        let channel = self.commands.key(topic);
        let tagged = self.commands.tagger.add(&channel, &envelope);
        let publish = Cmd::new().arg("PUBLISH").arg(channel).arg(tagged).take();
        // The answer is the number of receivers, which may be zero.
        let _: u64 = self.commands.query(&publish).await.map_err(unavailable)?;
        Ok(())
    }

    async fn connect(&self) -> Result<Box<dyn Subscriber>, BusError> {
        if self.subscribers.lock().is_closed {
            return Err(BusError::Closed);
        }
        let listener = Listener::start(Arc::clone(&self.commands)).await;
        let mut subscribers = self.subscribers.lock();
        if subscribers.is_closed {
            return Err(BusError::Closed);
        }
        subscribers.handles.retain(|handle| !handle.is_closed());
        subscribers.handles.push(listener.handle());
        drop(subscribers);
        Ok(Box::new(RedisSubscriber {
            commands: Arc::clone(&self.commands),
            listener,
        }))
    }

    async fn close(&self) {
        let mut subscribers = self.subscribers.lock();
        subscribers.is_closed = true;
        subscribers.handles.drain(..).for_each(|handle| handle.close());
    }
}

#[derive(Debug)]
struct RedisSubscriber {
    commands: Arc<CommandSender>,
    listener: Listener<Topic>,
}

#[async_trait]
impl Subscriber for RedisSubscriber {
    fn topics(&self) -> Box<dyn Topics> {
        Box::new(RedisTopics {
            commands: Arc::clone(&self.commands),
            handle: self.listener.handle(),
        })
    }

    async fn next(&mut self) -> Option<BusMessage> {
        loop {
            match self.listener.next().await? {
                BusEvent::Gap => return Some(BusMessage::Gap),
                BusEvent::Message(topic, tagged) => {
                    let channel = self.commands.key(topic);
                    if let Some(envelope) = self.commands.tagger.check(&channel, &tagged) {
                        return Some(BusMessage::Envelope(topic, tagged.slice_ref(envelope)));
                    }
                }
            }
        }
    }
}

#[derive(Debug)]
struct RedisTopics {
    commands: Arc<CommandSender>,
    handle: ListenerHandle<Topic>,
}

impl RedisTopics {
    /// Converts the result of a request. Returns [`BusError::Closed`] whatever the result if the
    /// subscriber has ended: then a success has no effect, and an error is due to the end.
    fn map_result(&self, result: Result<(), RedisError>) -> Result<(), BusError> {
        if self.handle.is_closed() {
            return Err(BusError::Closed);
        }
        result.map_err(unavailable)
    }
}

#[async_trait]
impl Topics for RedisTopics {
    async fn subscribe(&self, topic: Topic) -> Result<(), BusError> {
        let result = self.handle.subscribe(self.commands.key(topic), topic).await;
        self.map_result(result)
    }

    async fn unsubscribe(&self, topic: Topic) -> Result<(), BusError> {
        let result = self.handle.unsubscribe(self.commands.key(topic)).await;
        self.map_result(result)
    }
}
