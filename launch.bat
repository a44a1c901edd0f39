@echo off
rem Finds Python 3.11 to 3.13 and hands over to engine\bootstrap.py, which does everything else.
setlocal EnableExtensions DisableDelayedExpansion
set "HERE=%~dp0"
set "PYTHON="
set "OTHER="

if exist "%HERE%.venv\darkroom.json" call :try "%HERE%.venv\Scripts\python.exe"
if not defined PYTHON if defined DARKROOM_PYTHON call :try "%DARKROOM_PYTHON%"
if not defined PYTHON call :try py -3.13
if not defined PYTHON call :try py -3.12
if not defined PYTHON call :try py -3.11
if not defined PYTHON call :try python
if not defined PYTHON call :try python3
if not defined PYTHON goto none

%PYTHON% -I "%HERE%engine\bootstrap.py" %*
set "CODE=%ERRORLEVEL%"
goto end

:none
set "CODE=1"
if defined OTHER (
    echo Darkroom needs Python 3.11, 3.12 or 3.13, and this computer has another one: install a fitting one beside it from python.org, then start again.
) else (
    echo Darkroom needs Python 3.11, 3.12 or 3.13, and none was found: install it from python.org, then start again.
)

:end
rem Started by a double click, the window would vanish with its message.
if not "%CODE%"=="0" echo %CMDCMDLINE% | findstr /i /c:"%~nx0" >nul && pause
exit /b %CODE%

rem Keeps the command if it runs a Python that fits. Asked, not read off its name: Windows has a python.exe that only opens its shop.
:try
%* -c "import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else 3)" >nul 2>nul
if "%ERRORLEVEL%"=="0" (
    set PYTHON=%*
) else (
    if "%ERRORLEVEL%"=="3" set "OTHER=1"
)
exit /b 0
