CREATE FUNCTION public.refuse_change_of_transactions() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
        BEGIN
            RAISE EXCEPTION 'wallet_transactions is append-only: % is refused', TG_OP
                USING ERRCODE = 'restrict_violation', CONSTRAINT = 'wallet_transactions_append_only',
                    TABLE = 'wallet_transactions';
        END
        $$;
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.audit_log (
    id uuid NOT NULL,
    actor text NOT NULL COLLATE pg_catalog."C",
    method text NOT NULL COLLATE pg_catalog."C",
    request_id text NOT NULL COLLATE pg_catalog."C",
    transaction_id text NOT NULL COLLATE pg_catalog."C",
    entity_type text NOT NULL COLLATE pg_catalog."C",
    entity_id uuid NOT NULL,
    action text NOT NULL COLLATE pg_catalog."C",
    before jsonb,
    after jsonb,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE public.holds (
    id uuid NOT NULL,
    wallet_id uuid,
    job_id uuid,
    amount_cents bigint NOT NULL,
    state text NOT NULL COLLATE pg_catalog."C",
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    resolved_at timestamp with time zone,
    CONSTRAINT ck_holds_placed_or_only_released CHECK (
CASE
    WHEN (wallet_id IS NULL) THEN ((job_id IS NULL) AND (amount_cents = 0) AND (state = 'RELEASED'::text))
    ELSE ((job_id IS NOT NULL) AND (amount_cents > 0))
END),
    CONSTRAINT ck_holds_resolved_unless_active CHECK (((state = 'ACTIVE'::text) = (resolved_at IS NULL))),
    CONSTRAINT ck_holds_state_is_known CHECK ((state = ANY (ARRAY['ACTIVE'::text, 'CAPTURED'::text, 'RELEASED'::text])))
)
WITH (fillfactor='85', autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_threshold='5000', autovacuum_vacuum_insert_scale_factor='0.05', autovacuum_analyze_scale_factor='0.02');
CREATE TABLE public.wallet_transactions (
    id uuid NOT NULL,
    wallet_id uuid NOT NULL,
    sequence bigint NOT NULL,
    kind text NOT NULL COLLATE pg_catalog."C",
    counter_account text NOT NULL COLLATE pg_catalog."C",
    amount_cents bigint NOT NULL,
    balance_after_cents bigint NOT NULL,
    idempotency_key text NOT NULL COLLATE pg_catalog."C",
    job_id uuid,
    hold_id uuid,
    refunds_transaction_id uuid,
    description text DEFAULT ''::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    requested_amount_cents bigint,
    CONSTRAINT ck_wallet_transactions_balance_not_negative CHECK ((balance_after_cents >= 0)),
    CONSTRAINT ck_wallet_transactions_counter_account_fits_kind CHECK ((counter_account =
CASE kind
    WHEN 'CREDIT'::text THEN 'FUNDING'::text
    WHEN 'ADJUSTMENT'::text THEN 'ADJUSTMENT'::text
    ELSE 'REVENUE'::text
END)),
    CONSTRAINT ck_wallet_transactions_key_fits_job CHECK (
CASE
    WHEN ((kind = 'DEDUCTION'::text) AND (job_id IS NOT NULL)) THEN (idempotency_key = ('job:'::text || (job_id)::text))
    ELSE (NOT starts_with(idempotency_key, 'job:'::text))
END),
    CONSTRAINT ck_wallet_transactions_refund_names_deduction CHECK (((kind = 'REFUND'::text) = (refunds_transaction_id IS NOT NULL))),
    CONSTRAINT ck_wallet_transactions_sequence_from_1 CHECK ((sequence > 0)),
    CONSTRAINT ck_wallet_transactions_sign_fits_kind CHECK (
CASE kind
    WHEN 'CREDIT'::text THEN (amount_cents > 0)
    WHEN 'DEDUCTION'::text THEN (amount_cents < 0)
    WHEN 'REFUND'::text THEN (amount_cents > 0)
    WHEN 'ADJUSTMENT'::text THEN (amount_cents <> 0)
    ELSE false
END)
)
WITH (autovacuum_vacuum_insert_scale_factor='0.02', autovacuum_analyze_scale_factor='0.02');
CREATE TABLE public.wallets (
    id uuid NOT NULL,
    customer_id uuid NOT NULL,
    currency text DEFAULT 'EUR'::text NOT NULL COLLATE pg_catalog."C",
    current_balance_cents bigint DEFAULT 0 NOT NULL,
    pending_charges_cents bigint DEFAULT 0 NOT NULL,
    last_sequence bigint DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    version bigint DEFAULT 1 NOT NULL,
    CONSTRAINT ck_wallets_balance_not_negative CHECK ((current_balance_cents >= 0)),
    CONSTRAINT ck_wallets_currency_is_iso_4217 CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT ck_wallets_pending_not_negative CHECK ((pending_charges_cents >= 0)),
    CONSTRAINT ck_wallets_pending_within_balance CHECK ((pending_charges_cents <= current_balance_cents))
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.05');
INSERT INTO public.alembic_version VALUES ('b8e2570f9ad4');
INSERT INTO public.audit_log VALUES ('01a22389-d924-76d3-9231-b5adced08c0d', 'ipv4:127.0.0.1:55416', '/innosystem.wallets.v1.WalletService/CreateWallet', '01a22389-d90f-73c9-a3d3-a47476fffcc6', '01a22389-d919-705b-bbb5-5d99e8376c57', 'wallets', '01990000-0000-7000-8000-000000002010', 'CREATE', NULL, '{"id": "01990000-0000-7000-8000-000000002010", "version": 1, "currency": "EUR", "created_at": "2024-12-31T23:59:50.298790+00:00", "updated_at": "2024-12-31T23:59:50.298790+00:00", "customer_id": "01990000-0000-7000-8000-000000000201", "last_sequence": 0, "current_balance_cents": 0, "pending_charges_cents": 0}', '2024-12-31T23:59:50.298790+00:00');
INSERT INTO public.audit_log VALUES ('01a22389-d967-719a-9670-b2b4b1092a96', 'ipv4:127.0.0.1:55416', '/innosystem.wallets.v1.WalletService/CreateWallet', '01a22389-d959-774f-a462-413d48fa418d', '01a22389-d95d-77fd-9318-d819388b4237', 'wallets', '01990000-0000-7000-8000-000000002011', 'CREATE', NULL, '{"id": "01990000-0000-7000-8000-000000002011", "version": 1, "currency": "USD", "created_at": "2024-12-31T23:59:50.365728+00:00", "updated_at": "2024-12-31T23:59:50.365728+00:00", "customer_id": "01990000-0000-7000-8000-000000000201", "last_sequence": 0, "current_balance_cents": 0, "pending_charges_cents": 0}', '2024-12-31T23:59:50.365728+00:00');
INSERT INTO public.audit_log VALUES ('01a22389-d997-744e-a67e-5afef6f1fd6c', 'ipv4:127.0.0.1:55416', '/innosystem.wallets.v1.WalletService/CreateWallet', '01a22389-d98f-7ad6-9240-351436262b7c', '01a22389-d991-7202-864a-2548ac5ad4b2', 'wallets', '01990000-0000-7000-8000-000000002012', 'CREATE', NULL, '{"id": "01990000-0000-7000-8000-000000002012", "version": 1, "currency": "JPY", "created_at": "2024-12-31T23:59:50.418210+00:00", "updated_at": "2024-12-31T23:59:50.418210+00:00", "customer_id": "01990000-0000-7000-8000-000000000201", "last_sequence": 0, "current_balance_cents": 0, "pending_charges_cents": 0}', '2024-12-31T23:59:50.418210+00:00');
INSERT INTO public.audit_log VALUES ('01a22389-d9c9-7629-98e6-e5b59682d3e2', 'ipv4:127.0.0.1:55416', '/innosystem.wallets.v1.WalletService/CreateWallet', '01a22389-d9c4-7907-9a42-18ee3c3e3c9e', '01a22389-d9c6-752b-aefa-a8d1d25cf836', 'wallets', '01990000-0000-7000-8000-000000002013', 'CREATE', NULL, '{"id": "01990000-0000-7000-8000-000000002013", "version": 1, "currency": "KWD", "created_at": "2024-12-31T23:59:50.471081+00:00", "updated_at": "2024-12-31T23:59:50.471081+00:00", "customer_id": "01990000-0000-7000-8000-000000000201", "last_sequence": 0, "current_balance_cents": 0, "pending_charges_cents": 0}', '2024-12-31T23:59:50.471081+00:00');
INSERT INTO public.audit_log VALUES ('01a22389-d9f7-74f1-8c4e-3eb7159f9f51', 'ipv4:127.0.0.1:55416', '/innosystem.wallets.v1.WalletService/CreateWallet', '01a22389-d9f4-79d9-8456-eaee7414348a', '01a22389-d9f5-77b6-b970-6194421bef05', 'wallets', '01990000-0000-7000-8000-000000002020', 'CREATE', NULL, '{"id": "01990000-0000-7000-8000-000000002020", "version": 1, "currency": "EUR", "created_at": "2024-12-31T23:59:50.517888+00:00", "updated_at": "2024-12-31T23:59:50.517888+00:00", "customer_id": "01990000-0000-7000-8000-000000000202", "last_sequence": 0, "current_balance_cents": 0, "pending_charges_cents": 0}', '2024-12-31T23:59:50.517888+00:00');
INSERT INTO public.audit_log VALUES ('01a22389-da2c-73c1-90d3-3513af3d9095', 'ipv4:127.0.0.1:55416', '/innosystem.wallets.v1.WalletService/CreateWallet', '01a22389-da20-7ab1-ab82-2fc7a581916d', '01a22389-da28-706e-bb31-ea18af768e92', 'wallets', '01990000-0000-7000-8000-000000002030', 'CREATE', NULL, '{"id": "01990000-0000-7000-8000-000000002030", "version": 1, "currency": "EUR", "created_at": "2024-12-31T23:59:50.570454+00:00", "updated_at": "2024-12-31T23:59:50.570454+00:00", "customer_id": "01990000-0000-7000-8000-000000000203", "last_sequence": 0, "current_balance_cents": 0, "pending_charges_cents": 0}', '2024-12-31T23:59:50.570454+00:00');
INSERT INTO public.audit_log VALUES ('01a22389-da57-7341-9da0-d48bb64f7ae8', 'ipv4:127.0.0.1:55416', '/innosystem.wallets.v1.WalletService/CreateWallet', '01a22389-da4f-7c51-aa53-5bc6e7fa6b6a', '01a22389-da50-74f8-8a12-fc904d7b81f0', 'wallets', '01990000-0000-7000-8000-000000002040', 'CREATE', NULL, '{"id": "01990000-0000-7000-8000-000000002040", "version": 1, "currency": "EUR", "created_at": "2024-12-31T23:59:50.609484+00:00", "updated_at": "2024-12-31T23:59:50.609484+00:00", "customer_id": "01990000-0000-7000-8000-000000000204", "last_sequence": 0, "current_balance_cents": 0, "pending_charges_cents": 0}', '2024-12-31T23:59:50.609484+00:00');
INSERT INTO public.audit_log VALUES ('01a22389-da8d-71b7-bead-00cd35498fb0', 'ipv4:127.0.0.1:55416', '/innosystem.wallets.v1.WalletService/CreateWallet', '01a22389-da88-76e6-9ef0-d5e0f05f19f0', '01a22389-da89-75b8-9646-967a8c1fcd1e', 'wallets', '01990000-0000-7000-8000-000000002050', 'CREATE', NULL, '{"id": "01990000-0000-7000-8000-000000002050", "version": 1, "currency": "XAU", "created_at": "2024-12-31T23:59:50.665815+00:00", "updated_at": "2024-12-31T23:59:50.665815+00:00", "customer_id": "01990000-0000-7000-8000-000000000205", "last_sequence": 0, "current_balance_cents": 0, "pending_charges_cents": 0}', '2024-12-31T23:59:50.665815+00:00');
INSERT INTO public.audit_log VALUES ('01a22389-dab0-76a5-85b3-4a40824df33e', 'ipv4:127.0.0.1:55416', '/innosystem.wallets.v1.WalletService/CreateWallet', '01a22389-daad-733b-baff-7c90230ba1ea', '01a22389-daae-728a-9432-c495d89f9003', 'wallets', '01990000-0000-7000-8000-000000002051', 'CREATE', NULL, '{"id": "01990000-0000-7000-8000-000000002051", "version": 1, "currency": "ABC", "created_at": "2024-12-31T23:59:50.702710+00:00", "updated_at": "2024-12-31T23:59:50.702710+00:00", "customer_id": "01990000-0000-7000-8000-000000000205", "last_sequence": 0, "current_balance_cents": 0, "pending_charges_cents": 0}', '2024-12-31T23:59:50.702710+00:00');
INSERT INTO public.holds VALUES ('3d65520a-59f9-5f68-aea9-7c039c7b021e', '01990000-0000-7000-8000-000000002010', '01990000-0000-7000-8000-000000000401', 250, 'CAPTURED', '2024-12-31T23:59:51.183247+00:00', '2024-12-31T23:59:51.291206+00:00');
INSERT INTO public.holds VALUES ('a588718e-3acf-590d-b49f-8c059a1f574f', '01990000-0000-7000-8000-000000002012', '01990000-0000-7000-8000-000000000402', 99, 'CAPTURED', '2024-12-31T23:59:51.340350+00:00', '2024-12-31T23:59:51.412626+00:00');
INSERT INTO public.holds VALUES ('01990000-0000-7000-8000-000000000802', '01990000-0000-7000-8000-000000002011', '01990000-0000-7000-8000-000000000852', 300, 'ACTIVE', '2024-12-31T23:59:51.939973+00:00', NULL);
INSERT INTO public.holds VALUES ('01990000-0000-7000-8000-000000000801', '01990000-0000-7000-8000-000000002011', '01990000-0000-7000-8000-000000000851', 300, 'RELEASED', '2024-12-31T23:59:51.900191+00:00', '2024-12-31T23:59:52.017178+00:00');
INSERT INTO public.holds VALUES ('01990000-0000-7000-8000-000000000803', NULL, NULL, 0, 'RELEASED', '2024-12-31T23:59:52.228804+00:00', '2024-12-31T23:59:52.228804+00:00');
INSERT INTO public.holds VALUES ('67950853-d8f7-58d0-827d-89884dad6fc3', '01990000-0000-7000-8000-000000002010', '01990000-0000-7000-8000-000000000410', 250, 'CAPTURED', '2024-12-31T23:59:52.285430+00:00', '2024-12-31T23:59:52.332769+00:00');
INSERT INTO public.holds VALUES ('9a844679-5c7a-51b5-8d97-df7d1cfd70de', '01990000-0000-7000-8000-000000002020', '01990000-0000-7000-8000-000000000411', 250, 'CAPTURED', '2024-12-31T23:59:52.418695+00:00', '2024-12-31T23:59:52.523781+00:00');
INSERT INTO public.holds VALUES ('7ae0a6b1-3aa3-5dd6-b20c-acb692ee9c6e', '01990000-0000-7000-8000-000000002010', '01990000-0000-7000-8000-000000000413', 250, 'RELEASED', '2024-12-31T23:59:52.678926+00:00', '2024-12-31T23:59:52.782663+00:00');
INSERT INTO public.holds VALUES ('4371aa9d-e193-59c7-a749-5428c05a4bec', '01990000-0000-7000-8000-000000002010', '01990000-0000-7000-8000-000000000414', 250, 'RELEASED', '2024-12-31T23:59:52.791597+00:00', '2024-12-31T23:59:52.856711+00:00');
INSERT INTO public.holds VALUES ('50076daa-a917-5a1e-922d-bdbb16bd8506', '01990000-0000-7000-8000-000000002010', '01990000-0000-7000-8000-000000000415', 250, 'RELEASED', '2024-12-31T23:59:52.863535+00:00', '2024-12-31T23:59:52.959067+00:00');
INSERT INTO public.holds VALUES ('146abf4c-966d-5549-9106-d7b18a9a4bf3', '01990000-0000-7000-8000-000000002010', '01990000-0000-7000-8000-000000000416', 250, 'RELEASED', '2024-12-31T23:59:53.149805+00:00', '2024-12-31T23:59:53.242069+00:00');
INSERT INTO public.holds VALUES ('d89152c2-737b-5f09-b234-45dabb39d1f9', '01990000-0000-7000-8000-000000002010', '01990000-0000-7000-8000-000000000417', 250, 'RELEASED', '2024-12-31T23:59:53.275844+00:00', '2024-12-31T23:59:53.358728+00:00');
INSERT INTO public.holds VALUES ('171a08df-62f8-50b6-adaa-760f3f7d4af6', '01990000-0000-7000-8000-000000002010', '01990000-0000-7000-8000-000000000416', 250, 'CAPTURED', '2024-12-31T23:59:53.376507+00:00', '2024-12-31T23:59:53.553249+00:00');
INSERT INTO public.holds VALUES ('07e19956-6e69-5c3e-ab1c-35fb549946c2', '01990000-0000-7000-8000-000000002010', '01990000-0000-7000-8000-000000000417', 250, 'RELEASED', '2024-12-31T23:59:53.441198+00:00', '2024-12-31T23:59:53.615373+00:00');
INSERT INTO public.holds VALUES ('dd864877-f6f5-5702-99f0-db15ea93e3ec', '01990000-0000-7000-8000-000000002010', '01990000-0000-7000-8000-000000000419', 250, 'RELEASED', '2024-12-31T23:59:53.727361+00:00', '2024-12-31T23:59:57.000175+00:00');
INSERT INTO public.holds VALUES ('22edc1fe-405a-5aa1-a3ce-a58bca93b27d', '01990000-0000-7000-8000-000000002010', '01990000-0000-7000-8000-000000000420', 250, 'RELEASED', '2024-12-31T23:59:57.105935+00:00', '2024-12-31T23:59:58.890085+00:00');
INSERT INTO public.holds VALUES ('1336fc60-2858-5d1b-b894-ca8f63b86802', '01990000-0000-7000-8000-000000002040', '01990000-0000-7000-8000-000000000430', 250, 'RELEASED', '2024-12-31T23:59:59.029146+00:00', '2024-12-31T23:59:59.193198+00:00');
INSERT INTO public.holds VALUES ('2fe652cc-dd10-57f0-8c6c-b3bd8398fea8', '01990000-0000-7000-8000-000000002040', '01990000-0000-7000-8000-000000000431', 250, 'RELEASED', '2024-12-31T23:59:59.078354+00:00', '2024-12-31T23:59:59.210901+00:00');
INSERT INTO public.holds VALUES ('b6b708df-f809-585e-b203-b05ee26e2a04', '01990000-0000-7000-8000-000000002040', '01990000-0000-7000-8000-000000000432', 250, 'RELEASED', '2024-12-31T23:59:59.141063+00:00', '2024-12-31T23:59:59.219336+00:00');
INSERT INTO public.holds VALUES ('7e75ef6d-3d34-581e-adbd-0b1685a1188b', '01990000-0000-7000-8000-000000002010', '01990000-0000-7000-8000-000000000433', 250, 'ACTIVE', '2024-12-31T23:59:59.371309+00:00', NULL);
INSERT INTO public.holds VALUES ('fd0f1457-1c89-51e3-9b72-0aba13f6de98', '01990000-0000-7000-8000-000000002010', '01990000-0000-7000-8000-000000000440', 250, 'ACTIVE', '2024-12-31T23:59:59.464479+00:00', NULL);
INSERT INTO public.holds VALUES ('92b08d23-9e0b-55e1-ade1-e43ff116a4a4', '01990000-0000-7000-8000-000000002010', '01990000-0000-7000-8000-000000000441', 250, 'ACTIVE', '2024-12-31T23:59:59.515168+00:00', NULL);
INSERT INTO public.holds VALUES ('33d58a31-b6ad-55bc-af7b-f688936a2639', '01990000-0000-7000-8000-000000002010', '01990000-0000-7000-8000-000000000442', 250, 'ACTIVE', '2024-12-31T23:59:59.537669+00:00', NULL);
INSERT INTO public.holds VALUES ('d42d12d5-68f3-5827-9b2c-484ed3dad366', '01990000-0000-7000-8000-000000002012', '01990000-0000-7000-8000-000000000443', 99, 'ACTIVE', '2024-12-31T23:59:59.560756+00:00', NULL);
INSERT INTO public.holds VALUES ('30b1ac75-d3a5-5920-93e9-6926fe74b92b', '01990000-0000-7000-8000-000000002010', '01990000-0000-7000-8000-000000000444', 250, 'ACTIVE', '2024-12-31T23:59:59.604723+00:00', NULL);
INSERT INTO public.holds VALUES ('a886bb0d-a91d-543d-8c61-d24bf61328b6', '01990000-0000-7000-8000-000000002010', '01990000-0000-7000-8000-000000000445', 250, 'ACTIVE', '2024-12-31T23:59:59.669943+00:00', NULL);
INSERT INTO public.holds VALUES ('0547b659-725a-59af-9f61-259a7ccd94b0', '01990000-0000-7000-8000-000000002020', '01990000-0000-7000-8000-000000000447', 250, 'ACTIVE', '2024-12-31T23:59:59.792946+00:00', NULL);
INSERT INTO public.holds VALUES ('b643cafa-c22a-51a1-816e-b6285f0748e3', '01990000-0000-7000-8000-000000002010', '01990000-0000-7000-8000-000000000448', 250, 'ACTIVE', '2024-12-31T23:59:59.868943+00:00', NULL);
INSERT INTO public.holds VALUES ('0276869a-9107-55ef-8d6f-87600792b9aa', '01990000-0000-7000-8000-000000002020', '01990000-0000-7000-8000-000000000449', 250, 'ACTIVE', '2024-12-31T23:59:59.929054+00:00', NULL);
INSERT INTO public.holds VALUES ('cb96ff8e-8208-5b56-943e-4d1519b55367', '01990000-0000-7000-8000-000000002050', '01990000-0000-7000-8000-000000000451', 3, 'ACTIVE', '2024-12-31T23:59:59.982928+00:00', NULL);
INSERT INTO public.holds VALUES ('5c62028e-fa41-507f-9292-afe4d4f3874e', '01990000-0000-7000-8000-000000002010', '01990000-0000-7000-8000-000000000450', 250, 'ACTIVE', '2025-01-01T00:00:00.025408+00:00', NULL);
INSERT INTO public.holds VALUES ('ba3ea0f0-5328-5221-862c-d6d4f7ef7b78', '01990000-0000-7000-8000-000000002010', '01990000-0000-7000-8000-000000000460', 250, 'ACTIVE', '2025-01-01T00:00:00.046269+00:00', NULL);
INSERT INTO public.holds VALUES ('c4c830c0-df55-5a75-afe8-3b8b03994512', '01990000-0000-7000-8000-000000002010', '01990000-0000-7000-8000-000000000461', 250, 'ACTIVE', '2025-01-01T00:00:00.073265+00:00', NULL);
INSERT INTO public.holds VALUES ('46f256ad-ebd2-53ef-8bd8-384f7b715172', '01990000-0000-7000-8000-000000002010', '01990000-0000-7000-8000-000000000462', 250, 'ACTIVE', '2025-01-01T00:00:00.093516+00:00', NULL);
INSERT INTO public.wallet_transactions VALUES ('01a22389-d93b-74b1-acdb-7f85125463e8', '01990000-0000-7000-8000-000000002010', 1, 'CREDIT', 'FUNDING', 100000, 100000, 'first', NULL, NULL, NULL, 'by bank transfer, Überweisung ✓', '2024-12-31T23:59:50.337043+00:00', NULL);
INSERT INTO public.wallet_transactions VALUES ('01a22389-d979-77aa-91ca-653ff91b2aff', '01990000-0000-7000-8000-000000002011', 1, 'CREDIT', 'FUNDING', 5000, 5000, 'first', NULL, NULL, NULL, 'by bank transfer, Überweisung ✓', '2024-12-31T23:59:50.397794+00:00', NULL);
INSERT INTO public.wallet_transactions VALUES ('01a22389-d9a6-719a-a690-afed06927109', '01990000-0000-7000-8000-000000002012', 1, 'CREDIT', 'FUNDING', 20000, 20000, 'first', NULL, NULL, NULL, 'by bank transfer, Überweisung ✓', '2024-12-31T23:59:50.446890+00:00', NULL);
INSERT INTO public.wallet_transactions VALUES ('01a22389-d9d4-745c-9095-e6c24d221194', '01990000-0000-7000-8000-000000002013', 1, 'CREDIT', 'FUNDING', 7500, 7500, 'first', NULL, NULL, NULL, 'by bank transfer, Überweisung ✓', '2024-12-31T23:59:50.485676+00:00', NULL);
INSERT INTO public.wallet_transactions VALUES ('01a22389-d9fb-740d-9425-9b8f262c9c4f', '01990000-0000-7000-8000-000000002020', 1, 'CREDIT', 'FUNDING', 10000, 10000, 'first', NULL, NULL, NULL, 'by bank transfer, Überweisung ✓', '2024-12-31T23:59:50.528150+00:00', NULL);
INSERT INTO public.wallet_transactions VALUES ('01a22389-da65-76fc-a2db-11a85cfb5912', '01990000-0000-7000-8000-000000002040', 1, 'CREDIT', 'FUNDING', 1000, 1000, 'first', NULL, NULL, NULL, 'by bank transfer, Überweisung ✓', '2024-12-31T23:59:50.640536+00:00', NULL);
INSERT INTO public.wallet_transactions VALUES ('01a22389-da9a-7632-9b20-53a8a0e1e007', '01990000-0000-7000-8000-000000002050', 1, 'CREDIT', 'FUNDING', 1000, 1000, 'first', NULL, NULL, NULL, 'by bank transfer, Überweisung ✓', '2024-12-31T23:59:50.689401+00:00', NULL);
INSERT INTO public.wallet_transactions VALUES ('01a22389-dac0-74cf-9dd8-d86c71748f19', '01990000-0000-7000-8000-000000002051', 1, 'CREDIT', 'FUNDING', 1000, 1000, 'first', NULL, NULL, NULL, 'by bank transfer, Überweisung ✓', '2024-12-31T23:59:50.726612+00:00', NULL);
INSERT INTO public.wallet_transactions VALUES ('01a22389-dcf4-7395-be96-67326533881d', '01990000-0000-7000-8000-000000002010', 2, 'DEDUCTION', 'REVENUE', -250, 99750, 'job:01990000-0000-7000-8000-000000000401', '01990000-0000-7000-8000-000000000401', '3d65520a-59f9-5f68-aea9-7c039c7b021e', NULL, '', '2024-12-31T23:59:51.291206+00:00', NULL);
INSERT INTO public.wallet_transactions VALUES ('01a22389-dd68-76a5-a719-bba358f999c3', '01990000-0000-7000-8000-000000002012', 2, 'DEDUCTION', 'REVENUE', -99, 19901, 'job:01990000-0000-7000-8000-000000000402', '01990000-0000-7000-8000-000000000402', 'a588718e-3acf-590d-b49f-8c059a1f574f', NULL, '', '2024-12-31T23:59:51.412626+00:00', NULL);
INSERT INTO public.wallet_transactions VALUES ('01a22389-de35-71bf-8479-bfc4f63a6b0a', '01990000-0000-7000-8000-000000002011', 2, 'DEDUCTION', 'REVENUE', -700, 4300, 'licence', NULL, NULL, NULL, 'a licence', '2024-12-31T23:59:51.613028+00:00', NULL);
INSERT INTO public.wallet_transactions VALUES ('01a22389-de79-74b8-b118-e4a974e63f26', '01990000-0000-7000-8000-000000002011', 3, 'REFUND', 'REVENUE', 100, 4400, 'some of it', NULL, NULL, '01a22389-de35-71bf-8479-bfc4f63a6b0a', '', '2024-12-31T23:59:51.686343+00:00', NULL);
INSERT INTO public.wallet_transactions VALUES ('01a22389-de97-75aa-ac53-8023075da4bb', '01990000-0000-7000-8000-000000002011', 4, 'REFUND', 'REVENUE', 600, 5000, 'all that is left', NULL, NULL, '01a22389-de35-71bf-8479-bfc4f63a6b0a', '', '2024-12-31T23:59:51.748778+00:00', 0);
INSERT INTO public.wallet_transactions VALUES ('01a22389-e0b5-713a-95f3-ebacf3ffaaf6', '01990000-0000-7000-8000-000000002013', 2, 'CREDIT', 'FUNDING', 500, 8000, 'second', NULL, NULL, NULL, 'by bank transfer, Überweisung ✓', '2024-12-31T23:59:52.249873+00:00', NULL);
INSERT INTO public.wallet_transactions VALUES ('01a22389-e104-70fb-8551-363f08a21133', '01990000-0000-7000-8000-000000002010', 3, 'DEDUCTION', 'REVENUE', -250, 99500, 'job:01990000-0000-7000-8000-000000000410', '01990000-0000-7000-8000-000000000410', '67950853-d8f7-58d0-827d-89884dad6fc3', NULL, '', '2024-12-31T23:59:52.332769+00:00', NULL);
INSERT INTO public.wallet_transactions VALUES ('01a22389-e12f-7383-ab6f-e1cf000c35e6', '01990000-0000-7000-8000-000000002010', 4, 'REFUND', 'REVENUE', 50, 99550, 'goodwill', '01990000-0000-7000-8000-000000000410', NULL, '01a22389-e104-70fb-8551-363f08a21133', '', '2024-12-31T23:59:52.378994+00:00', NULL);
INSERT INTO public.wallet_transactions VALUES ('01a22389-e1c7-73f4-8d37-eaae32b5f21e', '01990000-0000-7000-8000-000000002020', 2, 'DEDUCTION', 'REVENUE', -250, 9750, 'job:01990000-0000-7000-8000-000000000411', '01990000-0000-7000-8000-000000000411', '9a844679-5c7a-51b5-8d97-df7d1cfd70de', NULL, '', '2024-12-31T23:59:52.523781+00:00', NULL);
INSERT INTO public.wallet_transactions VALUES ('01a22389-e1f4-755a-b9de-d1a4a563f30c', '01990000-0000-7000-8000-000000002020', 3, 'REFUND', 'REVENUE', 250, 10000, 'never worked', '01990000-0000-7000-8000-000000000411', NULL, '01a22389-e1c7-73f4-8d37-eaae32b5f21e', '', '2024-12-31T23:59:52.578690+00:00', 0);
INSERT INTO public.wallet_transactions VALUES ('01a22389-e5c9-76a3-b0f2-3f29663ef431', '01990000-0000-7000-8000-000000002010', 5, 'DEDUCTION', 'REVENUE', -250, 99300, 'job:01990000-0000-7000-8000-000000000416', '01990000-0000-7000-8000-000000000416', '171a08df-62f8-50b6-adaa-760f3f7d4af6', NULL, '', '2024-12-31T23:59:53.553249+00:00', NULL);
INSERT INTO public.wallet_transactions VALUES ('01a22389-fbf6-7481-9fbb-dcd3b5a0f6eb', '01990000-0000-7000-8000-000000002040', 2, 'DEDUCTION', 'REVENUE', -1000, 0, 'fee', NULL, NULL, NULL, '', '2024-12-31T23:59:59.223793+00:00', NULL);
INSERT INTO public.wallet_transactions VALUES ('01a22389-fc5e-7045-abff-8ade2d77042d', '01990000-0000-7000-8000-000000002040', 3, 'ADJUSTMENT', 'ADJUSTMENT', 250, 250, 'write-off:01990000-0000-7000-8000-000000000431', '01990000-0000-7000-8000-000000000431', NULL, NULL, 'a courtesy', '2024-12-31T23:59:59.329759+00:00', NULL);
INSERT INTO public.wallet_transactions VALUES ('01a22389-fc5e-7045-abff-8adfc7a74963', '01990000-0000-7000-8000-000000002040', 4, 'DEDUCTION', 'REVENUE', -250, 0, 'job:01990000-0000-7000-8000-000000000431', '01990000-0000-7000-8000-000000000431', '2fe652cc-dd10-57f0-8c6c-b3bd8398fea8', NULL, 'a courtesy', '2024-12-31T23:59:59.329759+00:00', NULL);
INSERT INTO public.wallet_transactions VALUES ('01a22389-fca4-7595-8938-cc9b03f8b8a0', '01990000-0000-7000-8000-000000002010', 6, 'DEDUCTION', 'REVENUE', -250, 99050, 'job:01990000-0000-7000-8000-000000000433', '01990000-0000-7000-8000-000000000433', NULL, NULL, '', '2024-12-31T23:59:59.398650+00:00', NULL);
INSERT INTO public.wallets VALUES ('01990000-0000-7000-8000-000000002030', '01990000-0000-7000-8000-000000000203', 'EUR', 0, 0, 0, '2024-12-31T23:59:50.570454+00:00', '2024-12-31T23:59:50.570454+00:00', 1);
INSERT INTO public.wallets VALUES ('01990000-0000-7000-8000-000000002051', '01990000-0000-7000-8000-000000000205', 'ABC', 1000, 0, 1, '2024-12-31T23:59:50.702710+00:00', '2024-12-31T23:59:50.726612+00:00', 2);
INSERT INTO public.wallets VALUES ('01990000-0000-7000-8000-000000002040', '01990000-0000-7000-8000-000000000204', 'EUR', 0, 0, 4, '2024-12-31T23:59:50.609484+00:00', '2024-12-31T23:59:59.329759+00:00', 11);
INSERT INTO public.wallets VALUES ('01990000-0000-7000-8000-000000002011', '01990000-0000-7000-8000-000000000201', 'USD', 5000, 300, 4, '2024-12-31T23:59:50.365728+00:00', '2024-12-31T23:59:52.017178+00:00', 8);
INSERT INTO public.wallets VALUES ('01990000-0000-7000-8000-000000002013', '01990000-0000-7000-8000-000000000201', 'KWD', 8000, 0, 2, '2024-12-31T23:59:50.471081+00:00', '2024-12-31T23:59:52.249873+00:00', 3);
INSERT INTO public.wallets VALUES ('01990000-0000-7000-8000-000000002012', '01990000-0000-7000-8000-000000000201', 'JPY', 19901, 99, 2, '2024-12-31T23:59:50.418210+00:00', '2024-12-31T23:59:59.560756+00:00', 5);
INSERT INTO public.wallets VALUES ('01990000-0000-7000-8000-000000002020', '01990000-0000-7000-8000-000000000202', 'EUR', 10000, 500, 3, '2024-12-31T23:59:50.517888+00:00', '2024-12-31T23:59:59.929054+00:00', 7);
INSERT INTO public.wallets VALUES ('01990000-0000-7000-8000-000000002050', '01990000-0000-7000-8000-000000000205', 'XAU', 1000, 3, 1, '2024-12-31T23:59:50.665815+00:00', '2024-12-31T23:59:59.982928+00:00', 3);
INSERT INTO public.wallets VALUES ('01990000-0000-7000-8000-000000002010', '01990000-0000-7000-8000-000000000201', 'EUR', 99050, 2750, 6, '2024-12-31T23:59:50.298790+00:00', '2025-01-01T00:00:00.093516+00:00', 37);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.audit_log
    ADD CONSTRAINT pk_audit_log PRIMARY KEY (id);
ALTER TABLE ONLY public.holds
    ADD CONSTRAINT pk_holds PRIMARY KEY (id);
ALTER TABLE ONLY public.wallet_transactions
    ADD CONSTRAINT pk_wallet_transactions PRIMARY KEY (id);
ALTER TABLE ONLY public.wallets
    ADD CONSTRAINT pk_wallets PRIMARY KEY (id);
ALTER TABLE ONLY public.wallet_transactions
    ADD CONSTRAINT uq_wallet_transactions_wallet_id_idempotency_key UNIQUE (wallet_id, idempotency_key);
ALTER TABLE ONLY public.wallet_transactions
    ADD CONSTRAINT uq_wallet_transactions_wallet_id_sequence UNIQUE (wallet_id, sequence);
ALTER TABLE ONLY public.wallets
    ADD CONSTRAINT uq_wallets_customer_id_currency UNIQUE (customer_id, currency);
CREATE INDEX ix_audit_log_created_at ON public.audit_log USING btree (created_at, id);
CREATE INDEX ix_audit_log_entity_id ON public.audit_log USING btree (entity_id, created_at, id);
CREATE INDEX ix_holds_active ON public.holds USING btree (created_at, id) WHERE (state = 'ACTIVE'::text);
CREATE INDEX ix_holds_active_wallet_id ON public.holds USING btree (wallet_id) WHERE (state = 'ACTIVE'::text);
CREATE INDEX ix_holds_created_at ON public.holds USING btree (created_at, id);
CREATE INDEX ix_wallet_transactions_job_id ON public.wallet_transactions USING btree (job_id) WHERE (job_id IS NOT NULL);
CREATE INDEX ix_wallet_transactions_refunds ON public.wallet_transactions USING btree (refunds_transaction_id) WHERE (refunds_transaction_id IS NOT NULL);
CREATE INDEX ix_wallets_created_at ON public.wallets USING btree (created_at, id);
CREATE TRIGGER wallet_transactions_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.wallet_transactions FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change_of_transactions();
ALTER TABLE ONLY public.holds
    ADD CONSTRAINT fk_holds_wallet_id_wallets FOREIGN KEY (wallet_id) REFERENCES public.wallets(id);
ALTER TABLE ONLY public.wallet_transactions
    ADD CONSTRAINT fk_wallet_transactions_refunds FOREIGN KEY (refunds_transaction_id) REFERENCES public.wallet_transactions(id);
ALTER TABLE ONLY public.wallet_transactions
    ADD CONSTRAINT fk_wallet_transactions_wallet_id_wallets FOREIGN KEY (wallet_id) REFERENCES public.wallets(id);
