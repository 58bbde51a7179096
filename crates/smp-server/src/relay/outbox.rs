//! Answers on their way out, packed into as few blocks as they fit in.

use smp_protocol::{
    Block, BlockSealer, BlockWriter, CorrId, EntityId, Response, SessionParams, encode_unauthorized,
};

/// Transmissions that wait to be written, in order. The last block stays open until it is taken.
pub(crate) struct Outbox {
    sealer: Option<BlockSealer>,
    open: BlockWriter,
    full: Vec<Box<Block>>,
}

impl Outbox {
    pub(crate) fn new(sealer: Option<BlockSealer>) -> Self {
        Self {
            sealer,
            open: BlockWriter::new(),
            full: Vec::new(),
        }
    }

    /// Adds an answer or a message.
    pub(crate) fn push(
        &mut self,
        params: &SessionParams,
        corr_id: Option<&CorrId>,
        entity: &EntityId,
        response: &Response,
    ) {
        let write = |out: &mut Vec<u8>| {
            let command = |out: &mut Vec<u8>| response.encode(params.version, out);
            encode_unauthorized(params, corr_id, entity, out, command)
        };
        if let Ok(true) = self.open.try_push_with(write) {
            return;
        }
        if !self.open.is_empty() {
            self.finish_block();
        }
        if !matches!(self.open.try_push_with(write), Ok(true)) {
            tracing::error!("an answer does not fit into a block");
        }
    }

    /// Every block with something in it.
    pub(crate) fn take(&mut self) -> Vec<Box<Block>> {
        if !self.open.is_empty() {
            self.finish_block();
        }
        std::mem::take(&mut self.full)
    }

    fn finish_block(&mut self) {
        let block = std::mem::take(&mut self.open);
        self.full.push(block.finish(self.sealer.as_mut()));
    }
}
