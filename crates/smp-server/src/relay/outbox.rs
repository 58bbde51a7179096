//! Answers on their way out, packed into as few blocks as they fit in.

use smp_protocol::{
    Block, BlockSealer, BlockWriter, CorrId, EntityId, ErrorType, Response, SessionParams,
    encode_unauthorized,
};

/// Transmissions that wait to be written, in order. The last block stays open until it is taken.
pub(crate) struct Outbox {
    sealer: Option<BlockSealer>,
    /// None while nothing waits: an idle connection has no memory for a block.
    open: Option<BlockWriter>,
    full: Vec<Box<Block>>,
}

impl Outbox {
    pub(crate) fn new(sealer: Option<BlockSealer>) -> Self {
        Self {
            sealer,
            open: None,
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
        if self.try_push(params, corr_id, entity, response) {
            return;
        }
        self.finish_block();
        if !self.try_push(params, corr_id, entity, response) {
            // Nothing of ours is that long; what another relay sent may be.
            tracing::debug!("an answer does not fit into a block");
            let error = Response::Err(ErrorType::Internal);
            self.try_push(params, corr_id, entity, &error);
        }
    }

    /// How many blocks are full.
    pub(crate) fn full_blocks(&self) -> usize {
        self.full.len()
    }

    /// Every block with something in it.
    pub(crate) fn take(&mut self) -> Vec<Box<Block>> {
        self.finish_block();
        std::mem::take(&mut self.full)
    }

    fn try_push(
        &mut self,
        params: &SessionParams,
        corr_id: Option<&CorrId>,
        entity: &EntityId,
        response: &Response,
    ) -> bool {
        let block = self.open.get_or_insert_default();
        let written = block.try_push_with(|out| {
            let command = |out: &mut Vec<u8>| response.encode(params.version, out);
            encode_unauthorized(params, corr_id, entity, out, command)
        });
        matches!(written, Ok(true))
    }

    fn finish_block(&mut self) {
        if let Some(block) = self.open.take().filter(|block| !block.is_empty()) {
            self.full.push(block.finish(self.sealer.as_mut()));
        }
    }
}
