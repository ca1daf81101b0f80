/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What executes commands, by file: what the rows of the tables of commands refer to, and what those files need of each other.
 */
#ifndef SCST_COMMANDS_H
#define SCST_COMMANDS_H

#include "core.h"

/* --- atomic.c: commands that read, decide and write as one ------------------------------------------ */

u8 scst_caw_max(const struct scst_device *dev, u32 max_xfer);
void scst_atomic_caw(struct scst_cmd *cmd);
void scst_atomic_or(struct scst_cmd *cmd);

/* --- token.c: ROD tokens of a device's data ------------------------------------------------------- */

void scst_tokens_setup(struct scst_device *dev);
void scst_tokens_stop(struct scst_device *dev);
void scst_tokens_end(struct scst_device *dev);
void scst_tokens_changed(struct scst_device *dev, u64 lba, u64 nblocks);

/* --- copy.c, copy-results.c, copy-token.c: copies that this host does for an initiator ------------ */

#define SCST_COPY_MAX		32	/* copies of a session at once */
#define SCST_COPY_SLOTS		64	/* commands of the core's own that they have in the session's table */
#define SCST_COPY_PAGE		372

int scst_copy_module_init(void);
void scst_copy_module_exit(void);
void scst_copy_setup_session(struct scst_session *sess);
void scst_copy_forget(struct scst_session *sess);
void scst_copy_page_put(u8 block_shift, u8 *body);
bool scst_copy_prepare(struct scst_cmd *cmd);
void scst_copy_execute(struct scst_cmd *cmd);
void scst_copy_execute_lid4(struct scst_cmd *cmd);
void scst_copy_status(struct scst_cmd *cmd);
void scst_copy_status_lid4(struct scst_cmd *cmd);
void scst_copy_parameters(struct scst_cmd *cmd);
void scst_copy_failed(struct scst_cmd *cmd);
void scst_copy_token_information(struct scst_cmd *cmd);
void scst_copy_abort(struct scst_cmd *cmd);
void scst_copy_populate(struct scst_cmd *cmd);
void scst_copy_write(struct scst_cmd *cmd);

/* --- thin.c: what initiators give back, and ranges that are filled ---------------------------- */

#define SCST_FILL_SEGMENTS	16	/* as often one write has the same memory */

/* What one command may ask for, in bytes: initiators wait 30 s for it. */
#define SCST_UNMAP_BYTES	SZ_512M
#define SCST_SAME_BYTES		SZ_1G
/* With its header the list fits into a page. */
#define SCST_UNMAP_DESCS	255

bool scst_thin_prepare_unmap(struct scst_cmd *cmd);
bool scst_thin_prepare_status(struct scst_cmd *cmd);
void scst_thin_unmap(struct scst_cmd *cmd);
void scst_thin_status(struct scst_cmd *cmd);
void scst_same_begin(struct scst_cmd *cmd);
bool scst_same_has_data(const struct scst_cmd *cmd);
u32 scst_clear_length(const struct scst_geometry *geo, u64 pos, u64 left);
void scst_fill_chunk(struct page *chunk, unsigned int chunk_size, unsigned int block);
u32 scst_fill_data(struct scst_data *data, struct scatterlist *sg, struct page *chunk, unsigned int chunk_size, u64 left);

/* --- pi.c, pi-io.c: protection information ----------------------------------------------------- */

/* RDPROTECT, WRPROTECT or VRPROTECT. */
static inline u8 scst_pi_field(const struct scst_cmd *cmd)
{
	return scst_cdb_flags(cmd) >> 5;
}

/* Only commands of 32 bytes, those of type 2, say which application tag is expected. */
static inline bool scst_pi_ato(const struct scst_device *dev)
{
	return dev->protection == 2;
}

u8 scst_pi_extended(const struct scst_device *dev);
bool scst_pi_prepare(struct scst_cmd *cmd);
u32 scst_pi_stride(const struct scst_cmd *cmd);
u64 scst_pi_offset(const struct scst_cmd *cmd, u64 offset);
void scst_pi_read(struct scst_cmd *cmd);
void scst_pi_write(struct scst_cmd *cmd);
void scst_pi_verify(struct scst_cmd *cmd);
void scst_pi_caw(struct scst_cmd *cmd, void (*end)(struct scst_cmd *cmd));
void scst_pi_or(struct scst_cmd *cmd, void (*end)(struct scst_cmd *cmd));
bool scst_pi_fetch(struct scst_cmd *cmd, u8 *block, u8 *pi);

/* --- format.c, sanitize.c: FORMAT UNIT, SANITIZE -------------------------------------------------------- */

bool scst_format_prepare(struct scst_cmd *cmd);
void scst_format_unit(struct scst_cmd *cmd);
bool scst_sanitize_prepare(struct scst_cmd *cmd);
void scst_sanitize_overwrite(struct scst_cmd *cmd);
void scst_sanitize_exit(struct scst_cmd *cmd);

/* --- removable.c: what is removable, stopped or started ------------------------------------------------ */

bool scst_medium_prepare_start_stop(struct scst_cmd *cmd);
void scst_medium_start_stop(struct scst_cmd *cmd);
bool scst_medium_prepare_prevent(struct scst_cmd *cmd);
void scst_medium_prevent(struct scst_cmd *cmd);
void scst_medium_load(struct scst_device *dev, bool load, const struct scst_nexus *by);
void scst_medium_allow(struct scst_nexus *nexus);
void scst_medium_reset(struct scst_device *dev);
bool scst_medium_ejected(const struct scst_device *dev);

/* --- prefetch.c: PRE-FETCH, READ DEFECT DATA ----------------------------------------------------- */

bool scst_prefetch_prepare(struct scst_cmd *cmd);
bool scst_defects_prepare(struct scst_cmd *cmd);
void scst_prefetch_begin(struct scst_cmd *cmd);
void scst_defects_report(struct scst_cmd *cmd);

/* --- timestamp.c: the clock of a device ------------------------------------------------------------ */

void scst_clock_reset(struct scst_device *dev);
void scst_clock_report(struct scst_cmd *cmd);
bool scst_clock_prepare_set(struct scst_cmd *cmd);
void scst_clock_execute_set(struct scst_cmd *cmd);

/* --- buffer.c: READ BUFFER and WRITE BUFFER --------------------------------------------------------- */

void scst_buffers_setup(struct scst_device *dev);
void scst_buffers_forget(struct scst_device *dev);
bool scst_buffer_prepare_read(struct scst_cmd *cmd);
bool scst_buffer_prepare_write(struct scst_cmd *cmd);
bool scst_buffer_prepare_echo(struct scst_cmd *cmd);
void scst_buffer_descriptor(struct scst_cmd *cmd);
void scst_buffer_read(struct scst_cmd *cmd);
void scst_buffer_write(struct scst_cmd *cmd);
void scst_buffer_echo_descriptor(struct scst_cmd *cmd);
void scst_buffer_read_echo(struct scst_cmd *cmd);
void scst_buffer_write_echo(struct scst_cmd *cmd);

/* --- diagnostic.c: SEND DIAGNOSTIC and RECEIVE DIAGNOSTIC RESULTS -------------------------------------- */

bool scst_diagnostic_prepare_send(struct scst_cmd *cmd);
bool scst_diagnostic_prepare_receive(struct scst_cmd *cmd);
void scst_diagnostic_send(struct scst_cmd *cmd);
void scst_diagnostic_receive(struct scst_cmd *cmd);

/* --- ident.c: REPORT and SET IDENTIFYING INFORMATION ----------------------------------------------------- */

bool scst_ident_prepare_report(struct scst_cmd *cmd);
bool scst_ident_prepare_set(struct scst_cmd *cmd);
void scst_ident_report(struct scst_cmd *cmd);
void scst_ident_set(struct scst_cmd *cmd);

/* --- log.c: LOG SENSE ------------------------------------------------------------------------------ */

bool scst_log_prepare_sense(struct scst_cmd *cmd);
void scst_log_sense(struct scst_cmd *cmd);

/* --- space.c ----------------------------------------------------------------------------------- */

#define SCST_SPACE_LOG_LEN	24	/* bytes of the parameters of log page 0Ch */

u8 scst_space_exponent(const struct scst_device *dev);
u32 scst_space_threshold(const struct scst_device *dev);
unsigned int scst_space_log(struct scst_device *dev, u8 *params);
void scst_space_watch(struct scst_device *dev);
void scst_space_set_threshold(struct scst_device *dev, u64 bytes);
void scst_space_setup(struct scst_device *dev);
void scst_space_stop(struct scst_device *dev);

/* --- spc.c report-ops.c vpd.c mode.c sbc.c: command sets ----------------------------------------------- */

u8 scst_spc_peripheral(const struct scst_nexus *nexus);
bool scst_spc_prepare_report_luns(struct scst_cmd *cmd);
void scst_spc_test_unit_ready(struct scst_cmd *cmd);
void scst_spc_request_sense(struct scst_cmd *cmd);
void scst_spc_inquiry(struct scst_cmd *cmd);
void scst_spc_report_luns(struct scst_cmd *cmd);
bool scst_ops_prepare_report(struct scst_cmd *cmd);
void scst_ops_report(struct scst_cmd *cmd);
bool scst_ops_prepare_tmfs(struct scst_cmd *cmd);
void scst_ops_tmfs_report(struct scst_cmd *cmd);

/* DESIGNATOR TYPE of the binary designators of a logical unit. */
#define SCST_DESIGNATOR_EUI64	2
#define SCST_DESIGNATOR_NAA	3

unsigned int scst_vpd_page(const struct scst_nexus *nexus, const struct scst_target *tgt, u8 page,
			   u8 *buf, unsigned int size);
bool scst_vpd_names(const struct scst_device *dev, u8 code_set, u8 kind, const u8 *designator, unsigned int len);
bool scst_device_write_cache(struct scst_device *dev);
bool scst_mode_prepare_select(struct scst_cmd *cmd);
void scst_mode_sense(struct scst_cmd *cmd);
void scst_mode_select(struct scst_cmd *cmd);
bool scst_sbc_prepare_read(struct scst_cmd *cmd);
bool scst_sbc_prepare_write(struct scst_cmd *cmd);
bool scst_sbc_prepare_verify(struct scst_cmd *cmd);
bool scst_sbc_prepare_read32(struct scst_cmd *cmd);
bool scst_sbc_prepare_write32(struct scst_cmd *cmd);
bool scst_sbc_prepare_verify32(struct scst_cmd *cmd);
bool scst_sbc_prepare_write_verify32(struct scst_cmd *cmd);
bool scst_sbc_prepare_write_same32(struct scst_cmd *cmd);
bool scst_sbc_prepare_write_verify(struct scst_cmd *cmd);
bool scst_sbc_prepare_sync(struct scst_cmd *cmd);
bool scst_sbc_prepare_capacity(struct scst_cmd *cmd);
bool scst_sbc_prepare_write_same(struct scst_cmd *cmd);
bool scst_sbc_prepare_caw(struct scst_cmd *cmd);
bool scst_sbc_prepare_or(struct scst_cmd *cmd);
bool scst_sbc_out_of_range(struct scst_cmd *cmd);
void scst_sbc_read(struct scst_cmd *cmd);
void scst_sbc_write(struct scst_cmd *cmd);
void scst_sbc_verify(struct scst_cmd *cmd);
void scst_sbc_write_verify(struct scst_cmd *cmd);
void scst_sbc_write_same(struct scst_cmd *cmd);
void scst_sbc_caw(struct scst_cmd *cmd);
void scst_sbc_or(struct scst_cmd *cmd);
void scst_sbc_sync(struct scst_cmd *cmd);
void scst_sbc_read_capacity10(struct scst_cmd *cmd);
void scst_sbc_read_capacity16(struct scst_cmd *cmd);

#endif /* SCST_COMMANDS_H */
