using Kms.Hsm.Native;

namespace Kms.Hsm.Tests.Native;

public sealed class SessionPoolTests
{
    [Fact]
    public void A_session_is_used_again()
    {
        using Token token = SoftHsm.Open(sessions: 1);
        Assert.Equal(token.Operate(session => session), token.Operate(session => session));
    }

    [Fact]
    public void A_session_in_which_an_operation_failed_is_closed_and_not_used_again()
    {
        using Token token = SoftHsm.Open(sessions: 1);
        ulong failed = 0;
        _ = Assert.Throws<TimeZoneNotFoundException>(() => token.Operate<bool>(session =>
        {
            failed = session;
            throw new TimeZoneNotFoundException();
        }));
        Assert.NotEqual(failed, token.Operate(session => session));
        Pkcs11Exception closed = Assert.Throws<Pkcs11Exception>(() => token.Module.CloseSession(failed));
        Assert.Equal("CKR_SESSION_HANDLE_INVALID", closed.ReturnName);
    }

    [Fact]
    public async Task Whoever_finds_every_session_busy_is_refused_after_the_timeout()
    {
        using Token token = SoftHsm.Open(sessions: 1, timeout: TimeSpan.FromMilliseconds(200));
        using ManualResetEventSlim hasBegun = new();
        using ManualResetEventSlim mayEnd = new();
        Task<ulong> busy = Task.Run(
            () => token.Operate(session =>
            {
                hasBegun.Set();
                mayEnd.Wait();
                return session;
            }),
            TestContext.Current.CancellationToken);
        hasBegun.Wait(TestContext.Current.CancellationToken);
        TokenException refusal = Assert.Throws<TokenException>(() => token.Operate(session => session));
        mayEnd.Set();
        ulong used = await busy;

        Assert.Equal(TokenFault.Unavailable, refusal.Fault);
        Assert.Equal(used, token.Operate(session => session));
    }

    [Fact]
    public async Task As_many_operations_run_at_once_as_there_are_sessions()
    {
        const int Sessions = 3;
        using Token token = SoftHsm.Open(sessions: Sessions);
        using Barrier together = new(Sessions);
        ulong[] used = await Task.WhenAll(Enumerable.Range(0, Sessions).Select(_ => Task.Factory.StartNew(
            () => token.Operate(session =>
            {
                together.SignalAndWait();
                return session;
            }),
            TestContext.Current.CancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default)));
        Assert.Equal(Sessions, used.Distinct().Count());
    }

    [Fact]
    public void A_refusal_of_the_module_names_function_and_value()
    {
        using Token token = SoftHsm.Open();
        TokenException refusal = Assert.Throws<TokenException>(() => token.Operate(session =>
        {
            token.Module.DestroyObject(session, 0xFFFF_FFFF);
            return true;
        }));
        Pkcs11Exception call = Assert.IsType<Pkcs11Exception>(refusal.InnerException);
        Assert.Equal(TokenFault.Unavailable, refusal.Fault);
        Assert.Equal("C_DestroyObject", call.Function);
        Assert.Equal("CKR_OBJECT_HANDLE_INVALID", call.ReturnName);
        Assert.Equal("C_DestroyObject returned CKR_OBJECT_HANDLE_INVALID.", call.Message);
    }

    [Fact]
    public unsafe void Memory_of_a_call_begins_with_what_was_copied_or_with_zeros()
    {
        CallMemory memory = new();
        nint block = memory.Copy([1, 2, 3]);
        Assert.Equal([1, 2, 3], new Span<byte>((void*)block, 3).ToArray());
        Assert.Equal(-1, new Span<byte>((void*)memory.Take(4096), 4096).IndexOfAnyExcept((byte)0));
        memory.Dispose();
    }
}
