//! How RocksDB is set up: little memory, no compression of ciphertext, one column family per access profile.

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, LogLevel,
    Options as DbOptions, WriteBufferManager,
};

use crate::{Options, Profile};

/// Open table files; beyond it the least recently used is closed.
const OPEN_FILES_MAX: i32 = 256;
/// Threads for flushes and compactions.
const BACKGROUND_JOBS_MAX: i32 = 2;
/// The log of writes is kept below so many times the write buffers, by flushing what holds it.
const LOG_PER_WRITE_BUFFERS: u64 = 4;
/// Flushed tables that lie over each other until they are merged. Buffers are small, so merging the usual four would
/// rewrite old rows for little new; filters keep look-ups cheap meanwhile.
const FLUSHED_TABLES: i32 = 8;
/// Size of tables at level one.
pub(super) const TABLE_BYTES: u64 = 16 << 20;
/// Blocks of point look-ups: little is read that was not asked for.
const POINT_BLOCK_BYTES: usize = 4 << 10;
/// Blocks of ranges.
const SCAN_BLOCK_BYTES: usize = 16 << 10;
/// About one look-up in a hundred of an absent key reads a table.
const FILTER_BITS_PER_KEY: f64 = 10.0;
/// Values from this size on lie in blob files.
const BLOB_BYTES_MIN: u64 = 1 << 10;
/// The engine's own text log, of which two files are kept.
const TEXT_LOG_BYTES_MAX: usize = 1 << 20;
/// Tables are written back to disk steadily, not in bursts that delay syncs of the log.
const WRITE_BACK_BYTES: u64 = 1 << 20;
/// A table with so many deletions among so many successive rows is compacted soon.
const CHURN_WINDOW_ROWS: usize = 1024;
const CHURN_DELETIONS: usize = 256;

/// Options of the database and of its column families.
pub(super) fn tune(
    options: &Options,
    profiles: &[Profile],
    table_bytes: u64,
) -> (DbOptions, Vec<ColumnFamilyDescriptor>) {
    let cache = Cache::new_lru_cache(options.block_cache_bytes);
    // After a full disk, RocksDB waits for free space of the largest write buffer of any family.
    let mut unused = DbOptions::default();
    unused.set_write_buffer_size(options.write_buffer_bytes / 2);
    let families = profiles
        .iter()
        .map(|profile| ColumnFamilyDescriptor::new(profile.name(), family(*profile, &cache, options, table_bytes)))
        // RocksDB insists on a family of this name; it stays empty.
        .chain([ColumnFamilyDescriptor::new("default", unused)])
        .collect();
    (database(options), families)
}

fn database(options: &Options) -> DbOptions {
    let mut db = DbOptions::default();
    db.create_if_missing(true);
    db.create_missing_column_families(true);
    db.set_max_open_files(OPEN_FILES_MAX);
    db.set_max_background_jobs(BACKGROUND_JOBS_MAX);
    db.set_write_buffer_manager(&WriteBufferManager::new_write_buffer_manager(options.write_buffer_bytes, false));
    db.set_max_total_wal_size(LOG_PER_WRITE_BUFFERS * options.write_buffer_bytes as u64);
    // After a crash the log ends at the first record that is not whole. Acknowledged writes are whole, and the blocks
    // of the one that was under way may have reached the disk in any order, which stricter modes refuse to open.
    db.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    db.set_track_and_verify_wals_in_manifest(true);
    db.set_bytes_per_sync(WRITE_BACK_BYTES);
    db.set_log_level(LogLevel::Warn);
    db.set_max_log_file_size(TEXT_LOG_BYTES_MAX);
    db.set_keep_log_file_num(2);
    db.set_stats_dump_period_sec(0);
    db.set_stats_persist_period_sec(0);
    db
}

fn family(profile: Profile, cache: &Cache, options: &Options, table_bytes: u64) -> DbOptions {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);

    let mut family = DbOptions::default();
    family.set_compression_type(DBCompressionType::None);
    family.set_write_buffer_size(options.write_buffer_bytes / 2);
    family.set_target_file_size_base(table_bytes);
    family.set_level_zero_file_num_compaction_trigger(FLUSHED_TABLES);
    family.set_level_compaction_dynamic_level_bytes(true);
    match profile {
        Profile::Point => {
            table.set_block_size(POINT_BLOCK_BYTES);
            table.set_bloom_filter(FILTER_BITS_PER_KEY, false);
            table.set_optimize_filters_for_memory(true);
        }
        Profile::Scan => {
            table.set_block_size(SCAN_BLOCK_BYTES);
        }
        Profile::Churn => {
            table.set_block_size(POINT_BLOCK_BYTES);
            family.add_compact_on_deletion_collector_factory(CHURN_WINDOW_ROWS, CHURN_DELETIONS, 0.5);
        }
        Profile::Blob => {
            table.set_block_size(POINT_BLOCK_BYTES);
            table.set_bloom_filter(FILTER_BITS_PER_KEY, false);
            family.set_enable_blob_files(true);
            family.set_min_blob_size(BLOB_BYTES_MIN);
            family.set_blob_compression_type(DBCompressionType::None);
            family.set_enable_blob_gc(true);
            family.set_blob_cache(cache);
        }
    }
    family.set_block_based_table_factory(&table);
    family
}
